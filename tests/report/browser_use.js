// Use the loaded page as a reader would, then replace it by what happened, as JSON.
window.addEventListener("load", async function () {
  var all = function (selector, root) {
    return Array.from((root || document).querySelectorAll(selector));
  };
  var wait = function (ms) { return new Promise(function (done) { setTimeout(done, ms); }); };
  var found = {width: innerWidth, wider: document.documentElement.scrollWidth - innerWidth};

  var figure = document.querySelector("figure");
  found.firstFigure = figure && [figure.getBoundingClientRect().top,
    figure.querySelector("figcaption").getBoundingClientRect().bottom];

  found.folded = all("details").map(function (d) {
    return [d.querySelector("summary").textContent, d.open]; });
  var first = document.querySelector("details");
  if (first) {
    first.querySelector("summary").click();
    found.unfolded = first.open;
    first.open = false;
  }

  found.anchors = all("nav a").map(function (a) {
    return [a.textContent, !!document.getElementById(a.hash.slice(1))]; });
  var runs = all("nav a").find(function (a) { return a.hash === "#runs"; });
  if (runs) {
    runs.click();
    await wait(50);
    var within = document.getElementById("runs").parentElement.querySelector("details");
    found.runs = [location.hash, within && within.open];
    scrollTo(0, 0);
  }

  // What lies under the pointer, not what the script was given.
  found.hovered = all("figure[data-name]").filter(function (f) { return f.offsetParent; })
    .map(function (f) {
      var marks = all(".tip", f).filter(function (m) {
        return m.getBoundingClientRect().width > 0; });
      var mark = marks[0];
      if (!mark) return [f.dataset.name, 0, "", ""];
      mark.scrollIntoView({block: "center"});
      var box = mark.getBoundingClientRect();
      var hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
      var under = hit && hit.closest(".tip");
      mark.dispatchEvent(new PointerEvent("pointerenter", {clientX: box.left, clientY: box.top}));
      var shown = document.querySelector(".tip-box");
      var result = [f.dataset.name, marks.length, under ? under.dataset.tip : "",
        shown.hidden ? "" : shown.textContent];
      mark.dispatchEvent(new PointerEvent("pointerleave"));
      return result.concat(shown.hidden);
    });

  var copies = [], allowed = true;
  Object.defineProperty(navigator, "clipboard", {value: {writeText: function (text) {
    if (!allowed) return Promise.reject(new Error("not allowed"));
    copies.push(text);
    return Promise.resolve();
  }}});
  var button = document.querySelector("button.copy");
  found.label = button.textContent;
  button.click();
  await wait(10);
  found.copied = [copies[0], button.textContent];
  allowed = false;
  document.execCommand = function () {
    copies.push(document.activeElement.value);
    return true;
  };
  button.click();
  await wait(10);
  found.copiedInFrame = [copies[1], !!document.querySelector("textarea.copied")];
  document.execCommand = function () { return false; };
  button.click();
  await wait(10);
  found.copiedByHand = document.querySelector("textarea.copied").value;
  document.querySelector("textarea.copied").remove();
  await wait(2100);
  found.labelAgain = button.textContent;

  // What is saved is caught on its way: to read a blob takes time that a virtual clock does not wait.
  var texts = [], names = [], pictures = [], RealBlob = Blob;
  window.Blob = function (parts, options) {
    texts.push(parts.join(""));
    return new RealBlob(parts, options);
  };
  HTMLCanvasElement.prototype.toBlob = function (take, type) {
    pictures.push(this.toDataURL(type).slice(0, 30));
    take(new RealBlob(["picture"], {type: type}));
  };
  HTMLAnchorElement.prototype.click = function () { names.push(this.download); };
  var saved = all("figure").find(function (f) { return f.offsetParent; });
  if (saved) {
    all("button.save", saved).forEach(function (b) { b.click(); });
    for (var i = 0; i < 100 && names.length < 2; i++) await wait(50);
    found.files = names.slice();
    found.svg = texts[0];
    found.png = pictures[0];
  }

  var part = document.querySelector("button.part");
  if (part) {
    names.length = texts.length = 0;
    part.click();
    found.part = [names[0], texts[0].split("\n"), part.hidden];
  }

  all("details").forEach(function (d) { d.open = false; });
  dispatchEvent(new Event("beforeprint"));
  found.openInPrint = all("details").every(function (d) { return d.open; });
  dispatchEvent(new Event("afterprint"));
  found.openAfterPrint = all("details").some(function (d) { return d.open; });

  found.unnamed = all("button").filter(function (b) {
    return !b.textContent.trim() && !b.getAttribute("aria-label"); }).length;
  found.unreachable = all("*").filter(function (e) {
    return e.scrollWidth > e.clientWidth + 1 &&
      ["auto", "scroll"].includes(getComputedStyle(e).overflowX) &&
      e.tabIndex < 0 && !e.querySelector("a"); }).length;

  var out = document.createElement("pre");
  out.id = "found"; out.textContent = JSON.stringify(found);
  document.body.replaceChildren(out);
});
