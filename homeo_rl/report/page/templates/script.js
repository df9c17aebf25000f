(function () {
  "use strict";
  var root = document.documentElement;
  var button = document.querySelector(".theme");
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  }
  function show() {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
  }
  button.hidden = false;
  button.addEventListener("click", function () {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  dark.addEventListener("change", show);
  show();
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (one) { one.open = true; });
  });

  // Values below the pointer: a text that an element has, the pixel of a raster, or the lines of a chart at that place.
  var bubble = document.createElement("div");
  var guide = document.createElementNS("http://www.w3.org/2000/svg", "path");
  bubble.className = "bubble";
  bubble.setAttribute("role", "status");
  guide.setAttribute("class", "guide");
  document.body.appendChild(bubble);

  function short(value) {
    var size = Math.abs(value);
    return value !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  }
  function valueAt(text, share) {
    var parts = text.split(" "), value = Number(parts[0]) + share * (Number(parts[1]) - Number(parts[0]));
    if (parts[2] === "log") { return short(Math.pow(10, value)); }
    return parts[2] === "%" ? short(100 * value) + " %" : short(value);
  }
  function heightAt(line, x) {
    var numbers = line.getAttribute("d").match(/-?[\d.]+(e-?\d+)?/g).map(Number), best = null;
    for (var i = 0; i < numbers.length; i += 2) {
      if (best === null || Math.abs(numbers[i] - x) < Math.abs(best[0] - x)) { best = [numbers[i], numbers[i + 1]]; }
    }
    return best;
  }
  function chartAt(sheet, event) {
    var box = sheet.getBoundingClientRect(), base = sheet.querySelector(".base").getAttribute("d").match(/[\d.]+/g).map(Number);
    var view = sheet.viewBox.baseVal, x = (event.clientX - box.left) / box.width * view.width;
    var lines = sheet.querySelectorAll(".line[data-name]");
    if (!lines.length || x < base[0] || x > base[2]) { return ""; }
    var top = 30, bottom = base[1];
    guide.setAttribute("d", "M" + x + " " + top + "V" + bottom);
    sheet.appendChild(guide);
    var said = [sheet.dataset.of + " " + valueAt(sheet.dataset.x, (x - base[0]) / (base[2] - base[0]))];
    lines.forEach(function (line) {
      var place = heightAt(line, x);
      if (Math.abs(place[0] - x) > 0.1 * (base[2] - base[0])) { return; }  // the line ended before
      said.push(line.dataset.name + ": " + valueAt(sheet.dataset.y, (bottom - place[1]) / (bottom - top)));
    });
    return said.join("\n");
  }
  function rasterAt(image, event) {
    var box = image.getBoundingClientRect(), size = image.dataset.grid.split(" ").map(Number);
    var at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return "decision " + Math.floor(at[0] * size[0]) + ", neuron " + Math.floor(at[1] * size[1]);
  }
  function point(event) {
    var on = event.target.closest ? event.target.closest("[data-tip], [data-grid], .sheet") : null, said = "";
    guide.remove();
    if (on && on.dataset.tip) { said = on.dataset.tip; }
    else if (on && on.dataset.grid) { said = rasterAt(on, event); }
    else if (on) { said = chartAt(on, event); }
    bubble.textContent = said;
    var left = event.clientX + 14, top = event.clientY + 14;
    bubble.style.left = Math.max(4, Math.min(left, window.innerWidth - bubble.offsetWidth - 4)) + "px";
    bubble.style.top = (top + bubble.offsetHeight > window.innerHeight ? event.clientY - bubble.offsetHeight - 14 : top) + "px";
  }
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
})();
