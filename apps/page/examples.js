// Examples to click: tells the page which one.
element.addEventListener("click", (event) => {
  const asked = event.target.closest("button[data-example]");
  if (asked) trigger("click", { what: asked.dataset.example });
});
