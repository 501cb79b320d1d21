"""Buttons that copy the text of their `data-copy` to the clipboard.

A frame may not be allowed to use the clipboard. The older command is then tried, and if that fails
too the text is shown, selected, to be copied by hand.
"""

COPYING = """
  function say(button, words) {
    var before = button.dataset.label;
    button.textContent = words;
    setTimeout(function () { button.textContent = before; }, 2000);
  }
  function copyByHand(button, text) {
    var area = document.createElement("textarea");
    area.value = text;
    area.readOnly = true;
    area.rows = 6;
    area.className = "copied";
    area.setAttribute("aria-label", "The text to copy");
    button.after(area);
    area.select();
    var done = false;
    try { done = document.execCommand("copy"); } catch (error) { done = false; }
    if (done) area.remove();
    say(button, done ? "Copied" : "Press Ctrl+C");
  }
  document.querySelectorAll(".lb button.copy").forEach(function (button) {
    if (button.dataset.ready) return;
    button.dataset.ready = "1";
    button.dataset.label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", function () {
      var text = button.dataset.copy;
      if (!navigator.clipboard) return copyByHand(button, text);
      navigator.clipboard.writeText(text).then(
        function () { say(button, "Copied"); },
        function () { copyByHand(button, text); });
    });
  });
"""
