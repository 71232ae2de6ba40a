// What the page says where its server cannot: uploads that are refused on the way, and a server that is gone.
(() => {
  const KEPT = "personagen-notice", MOST = 10_000_000;
  const LOST = "The page's server does not answer. Start it again (personagen demo); this page comes back by itself, " +
    "and asks for photos and settings anew.";
  const BACK = "The server was started anew or the connection was lost: what was being made is gone. " +
    "Give photos and settings again, then press the button.";
  let lost = false, asked = null;

  const page = () => document.querySelector("gradio-app") || document.body;
  const states = () => [...page().querySelectorAll(".state")];
  const seen = () => states().filter((state) => state.checkVisibility());

  function say(text, bad = true, all = false) {
    for (const state of all ? states() : seen()) {
      state.querySelector(".line").textContent = (bad ? "⚠ " : "") + text;
      state.querySelector(".done").style.width = "0";
    }
  }

  function enable() {
    for (const button of page().querySelectorAll("button[disabled]")) button.disabled = false;
  }

  async function answers() {
    try {
      return (await plain(new URL("gradio_api/app_id", location.href), { cache: "no-store" })).ok;
    } catch {
      return false;
    }
  }

  async function look() {
    if (lost) return;
    for (let trial = 0; trial < 2; trial += 1) {
      if (await answers()) return;
      await new Promise((done) => setTimeout(done, 700));
    }
    lost = true;
    sessionStorage.setItem(KEPT, BACK);
    say(LOST, true, true);
    enable();
    const back = setInterval(async () => {
      if (!(await answers())) return;
      clearInterval(back);
      location.reload();
    }, 2000);
  }

  const plain = window.fetch.bind(window);
  window.fetch = async (...given) => {
    const address = String(given[0]?.url ?? given[0]);
    if (/\/app_id(\?|$)/.test(address)) sessionStorage.setItem(KEPT, BACK); // the library asks before it reloads
    const upload = /\/upload(\?|$)/.test(address.split("#")[0]);
    try {
      const answer = await plain(...given);
      if (upload && !answer.ok) refused(answer.status, await answer.clone().text());
      return answer;
    } catch (error) {
      if (error?.name !== "AbortError" && address.startsWith(location.origin)) {
        if (upload) say("The upload did not arrive; give the file again.");
        asked = asked || look().finally(() => { asked = null; });
      }
      throw error;
    }
  };

  function refused(code, text) {
    const large = code === 413 || /maximum allowed size/.test(text);
    say(large ? "The file is larger than 10 MB; save it smaller, then give it again."
      : "The upload was refused; give another file, or reload the page.");
  }

  // Files over the limit and of other kinds never leave the browser, and the library says nothing of them.
  const READ = /\.(jpe?g|jfif|png|webp|avif|hei[cf])$/i;
  const PLACES = [["#generate-loras", /\.safetensors$/i, 64_000_000, "a .safetensors file"],
    ["#history-file", /\.csv$/i, 2_000_000, "a CSV"], ["#restore", /\.(png|ya?ml)$/i, 12_000_000, "a PNG or YAML"],
    ["#catalogue-files", /\.(csv|parquet|zip|jpe?g|jfif|png|webp|avif|hei[cf])$/i, 64_000_000,
      "a CSV or Parquet, pictures, or a zip of them"]];
  function weigh(event) {
    const input = event.target?.files ? event.target : null;
    const files = [...(input?.files ?? event.dataTransfer?.files ?? event.clipboardData?.files ?? [])];
    if (!files.length) return;
    const place = PLACES.find(([where]) => event.target.closest?.(where));
    if (!place && event.type === "drop" && goOn(event, files)) return;
    const [, read, most, wanted] = place ?? ["", READ, MOST, "a JPEG, PNG, WebP, AVIF or HEIC picture"];
    const large = files.find((file) => file.size > most);
    const other = files.find((file) => !read.test(file.name) && (place || !file.type.startsWith("image/")));
    if (large || other) {
      event.stopImmediatePropagation();
      event.preventDefault();
      if (input) input.value = "";
      const name = files.length > 1 ? ` (${(large ?? other).name})` : "";
      say(large ? `The file is larger than ${most / 1e6} MB${name}; save it smaller, then give it again.`
        : `This kind of file is not read${name}; give ${wanted}.`);
    } else if (input && !place && files.some((file) => !file.type)) { // systems that do not know telephones' pictures
      const named = new DataTransfer();
      for (const file of files) {
        const ending = file.name.split(".").pop().toLowerCase();
        named.items.add(file.type ? file : new File([file], file.name, { type: `image/${ending}` }));
      }
      input.files = named.files;
    }
  }
  // A picture or settings that are dropped beside every place for files: the page goes on from them.
  function goOn(event, files) {
    const here = event.target.closest?.(".block:has(input[type=file])");
    const input = document.querySelector("#restore input[type=file]");
    if (!input || files.length > 1 || !/\.(png|ya?ml)$/i.test(files[0].name)) return false;
    if (here && /\.png$/i.test(files[0].name)) return false;
    event.preventDefault();
    event.stopImmediatePropagation();
    const given = new DataTransfer();
    given.items.add(files[0]);
    input.files = given.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  }
  window.addEventListener("dragover", (event) => event.preventDefault());
  for (const kind of ["change", "drop", "paste"]) window.addEventListener(kind, weigh, true);

  // A request that failed before our own code saw it: the library's own words, and what to do.
  const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  window.personagenFailed = async () => {
    await new Promise((done) => setTimeout(done, 200));
    await look();
    const toasts = [...page().querySelectorAll(".toast-message-text, .toast-text")];
    const words = toasts.map((toast) => toast.innerText.trim()).filter(Boolean);
    const why = words.length ? `: ${words[0].replace(/[.\s]+$/, "")}` : "";
    const text = lost ? LOST : `This did not get through${why}. Check the fields and pictures, then press the ` +
      "button again; if that does not help, reload the page.";
    const state = `<div class="state" role="status" aria-live="polite"><span class="line">⚠ ${escaped(text)}</span>` +
      `<div class="rail"><div class="done" style="width:0%"></div></div></div>`;
    return [state,
      { __type__: "update", interactive: true }, { __type__: "update", interactive: false }];
  };

  // After a reload: what has happened.
  function greet() {
    const text = sessionStorage.getItem(KEPT);
    if (!text) return;
    if (!states().length) return void setTimeout(greet, 200);
    setTimeout(() => sessionStorage.removeItem(KEPT), 5000); // the library may reload once more
    say(text, text === BACK, true);
    seen()[0]?.scrollIntoView({ block: "center" }); // on a phone the line is far below
  }
  // A page that is reloaded says which one it was, so that it has its photos and settings again; a link brings settings.
  const SESSION = "personagen-session";
  window.personagenCame = () => {
    const reloaded = performance.getEntriesByType("navigation")[0]?.type === "reload";
    const link = new URLSearchParams(location.search).get("go") || "";
    return [JSON.stringify([(reloaded && sessionStorage.getItem(SESSION)) || "", link])];
  };
  window.personagenKeep = (session) => {
    sessionStorage.setItem(SESSION, session);
    return [];
  };
  window.personagenLeave = async () => {
    sessionStorage.removeItem(SESSION);
    const said = document.querySelector("#deleted textarea, #deleted input");
    for (let trial = 0; trial < 20 && !said?.value; trial += 1) await new Promise((done) => setTimeout(done, 100));
    sessionStorage.setItem(KEPT, said?.value || "Deleted: all that was yours.");
    history.replaceState(null, "", location.pathname);
    location.reload();
    return [];
  };

  // Names that the library gives and that screen readers stumble over: a label that hides the words inside, one that
  // does not say them, one on what has no role, and a button inside another.
  function name() {
    for (const one of page().querySelectorAll(".upload-container[aria-label]:not(.icon-mode)")) {
      one.removeAttribute("aria-label");
    }
    for (const one of page().querySelectorAll("button:not([role]) > * .upload-container.icon-mode, " +
      "button:not([role]) > .upload-container.icon-mode")) { // a button in a button: the inner one is pressed
      const outer = one.parentElement.closest("button");
      outer.setAttribute("role", "group");
      outer.setAttribute("aria-label", "More files");
      outer.tabIndex = -1;
      one.setAttribute("aria-label", "Give more files");
    }
    for (const one of page().querySelectorAll('button[aria-label^="Thumbnail "]')) {
      if (one.innerText.trim()) one.setAttribute("aria-label", `${one.innerText.trim()} (${one.ariaLabel})`);
    }
    for (const one of page().querySelectorAll(".file-preview .stem")) { // what we add to visitors' names of files
      const words = one.firstChild; // the library's own text, which it goes on to change
      if (words && /-[0-9a-f]{16}$/.test(words.data)) words.data = words.data.replace(/-[0-9a-f]{16}$/, "");
    }
    for (const one of page().querySelectorAll('div[aria-label="Empty value"]:not([role])')) one.setAttribute("role", "img");
  }
  new MutationObserver(name).observe(document.documentElement, { childList: true, subtree: true });

  setTimeout(greet, 1000); // this script may come after the page is there
  setInterval(look, 10000);
  window.addEventListener("click", (event) => {
    if (lost && event.target.closest?.("button")) say(LOST, true);
  }, true);
})();
