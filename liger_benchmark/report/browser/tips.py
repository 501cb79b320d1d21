"""A bar, a point or a line says what it shows while the pointer, or a finger, is on it.

The text is the element's `title` in the SVG, which a browser shows by itself after a while; here it
is shown at once, and on touch screens too.
"""

TIPS = """
  var box = document.createElement("div");
  box.className = "tip-box";
  box.hidden = true;
  function place(event) {
    var space = 12, width = box.offsetWidth, height = box.offsetHeight;
    var left = Math.min(event.clientX + space, innerWidth - width - 4);
    var above = event.clientY - height - space;
    box.style.left = Math.max(4, left) + "px";
    box.style.top = (above < 4 ? event.clientY + space : above) + "px";
  }
  document.querySelectorAll(".lb figure .tip").forEach(function (mark) {
    if (mark.dataset.tip) return;
    var title = mark.querySelector("title");
    mark.dataset.tip = title.textContent;
    title.remove();
    mark.addEventListener("pointerenter", function (event) {
      mark.closest(".lb").appendChild(box);
      box.textContent = mark.dataset.tip;
      box.hidden = false;
      place(event);
    });
    mark.addEventListener("pointermove", place);
    mark.addEventListener("pointerleave", function () { box.hidden = true; });
  });
"""
