// Measure the loaded page, then replace it by what was found, as JSON.
window.addEventListener("load", function () {
  document.querySelectorAll("details").forEach(function (d) { d.open = true; });
  var found = {problems: window.problems, width: innerWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    requests: performance.getEntriesByType("resource").map(function (e) { return e.name; }),
    overflowing: [], overlapping: [], cut: [], faint: []};
  var all = Array.from(document.querySelectorAll("body, body *:not(script):not(style)"));
  var html = all.filter(function (e) { return !e.closest("svg"); });
  [document.documentElement].concat(html).forEach(function (e) {
    // An inline box has no width of its own.
    if (getComputedStyle(e).display === "inline") return;
    if (e.scrollWidth > e.clientWidth + 1)
      found.overflowing.push(e.tagName + "." + e.className + ": " + e.textContent.slice(0, 60) +
        " " + e.scrollWidth + ">" + e.clientWidth);
  });
  document.querySelectorAll("svg").forEach(function (svg) {
    var frame = svg.getBoundingClientRect();
    var texts = Array.from(svg.querySelectorAll("text")).map(function (t) {
      return {text: t.textContent, box: t.getBoundingClientRect()};
    });
    texts.forEach(function (a, i) {
      if (a.box.left < frame.left - 1 || a.box.right > frame.right + 1 ||
          a.box.top < frame.top - 1 || a.box.bottom > frame.bottom + 1) found.cut.push(a.text);
      texts.slice(i + 1).forEach(function (b) {
        var w = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        var h = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        // A line's box is higher than its letters.
        if (w > 0.5 && h > 3) found.overlapping.push(a.text + " | " + b.text);
      });
    });
    found.texts = (found.texts || 0) + texts.length;
  });
  var light = function (colour) {
    var c = colour.match(/[\d.]+/g).slice(0, 3).map(function (v) {
      v = v / 255; return v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); });
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
  };
  var contrast = function (one, other) {
    var a = light(one), b = light(other);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  var behind = function (e) {
    for (; e; e = e.parentElement) {
      var colour = getComputedStyle(e).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)" && colour !== "transparent") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  html.forEach(function (e) {
    if (!Array.from(e.childNodes).some(function (n) { return n.nodeType === 3 && n.data.trim(); }))
      return;
    var ratio = contrast(getComputedStyle(e).color, behind(e));
    if (ratio < 4.5) found.faint.push(e.tagName + " " + ratio.toFixed(1) + ": " +
      e.textContent.slice(0, 40));
  });
  // In a figure text stands on the page, but for the numbers inside Liger's bars.
  var resolve = function (name) {
    var probe = document.querySelector(".lb").appendChild(document.createElement("i"));
    probe.style.color = "var(" + name + ")";
    var colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };
  if (contrast(resolve("--on-liger"), resolve("--liger")) < 4.5) found.faint.push("on the bars");
  document.querySelectorAll("svg text").forEach(function (t) {
    var fill = getComputedStyle(t).fill;
    if (contrast(fill, behind(t)) < 4.5 ? fill !== resolve("--on-liger") :
        fill !== getComputedStyle(t).color) found.faint.push("svg " + fill + ": " + t.textContent);
  });
  var table = Array.from(document.querySelectorAll("table.sortable")).pop();
  var column = function (name) {
    var heads = Array.from(table.tHead.rows[0].cells);
    return heads.findIndex(function (h) {
      return h.textContent.replace(/\u00ad/g, "").startsWith(name); });
  };
  var read = function (i) {
    return Array.from(table.tBodies[0].rows).map(function (r) { return r.cells[i].firstChild.textContent; });
  };
  var click = function (i) { table.tHead.rows[0].cells[i].querySelector("button").click(); };
  var sorted = {};
  ["Tokens/s", "Outcome"].forEach(function (name) {
    var i = column(name); click(i);
    sorted[name] = [read(i), table.tHead.rows[0].cells[i].getAttribute("aria-sort")];
    click(i);
    sorted[name].push(read(i), table.tHead.rows[0].cells[i].getAttribute("aria-sort"));
  });
  found.sorted = sorted;
  var out = document.createElement("pre");
  out.id = "found"; out.textContent = JSON.stringify(found);
  document.body.replaceChildren(out);
});
