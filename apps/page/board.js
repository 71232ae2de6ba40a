// The cards of looks: the slider between before and after, a picture shown large, and what a button asks for.
element.addEventListener("input", (event) => {
  const slider = event.target.closest(".cut");
  if (slider) slider.closest(".look").querySelector(".pair").style.setProperty("--cut", `${slider.value}%`);
});
element.addEventListener("click", (event) => {
  const asked = event.target.closest("button[data-act]"), enlarge = event.target.closest(".enlarge");
  if (asked) trigger("click", { act: asked.dataset.act, at: Number(asked.dataset.at) });
  if (enlarge || event.target.matches(".pair img")) show(event.target.closest(".pair").querySelector(".after"));
});

function show(picture) {
  const dialog = document.createElement("dialog"), large = document.createElement("img");
  dialog.className = "large";
  dialog.setAttribute("aria-label", picture.alt);
  large.src = picture.src;
  large.alt = picture.alt;
  dialog.append(large);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
