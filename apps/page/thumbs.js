// Pictures to learn from: each with its verdict and a caption that can be changed. Keeps the captions in the value.
const list = element.querySelector(".thumbs");
let drawn = "";

function draw() {
  const items = props.value?.items ?? [], key = JSON.stringify(items.map((item) => [item.src, item.verdict]));
  if (key === drawn) return;
  drawn = key;
  list.replaceChildren(...items.map((item, at) => {
    const figure = document.createElement("figure"), image = document.createElement("img");
    const words = document.createElement("figcaption"), caption = document.createElement("input");
    figure.className = item.good ? "good" : "bad";
    image.src = item.src;
    image.alt = item.name;
    words.textContent = `${item.good ? "✓" : "⚠"} ${item.verdict}`;
    words.title = item.name;
    caption.value = item.caption ?? "";
    caption.placeholder = "own caption";
    caption.maxLength = 300;
    caption.setAttribute("aria-label", `Caption of ${item.name}`);
    caption.addEventListener("change", () => {
      const items = props.value.items.map((one, place) => place === at ? { ...one, caption: caption.value } : one);
      props.value = { ...props.value, items };
    });
    figure.append(image, words, ...(item.good ? [caption] : []));
    return figure;
  }));
}
watch("value", draw);
draw();
