// Values below the pointer, a finger, or the arrow keys: a text that an element has, the pixel of a raster, or the lines of
// a chart at that place.
var bubble = document.createElement("div");
var guide = document.createElementNS("http://www.w3.org/2000/svg", "path");
bubble.className = "bubble";
bubble.setAttribute("role", "status");
guide.setAttribute("class", "guide");
document.body.appendChild(bubble);
var TIPS = "[data-tip], .heat td:not(:empty), .forest tbody tr";
var isPointed = false;  // and not asked for by a key: a page that is scrolled moves from under the pointer

// Coordinates are rounded to a tenth of a pixel: digits beyond that are not shown.
function valueAt(text, share, pixels) {
  var parts = text.split(" "), low = Number(parts[0]), range = Number(parts[1]) - low, value = low + share * range;
  if (parts[2] === "log") { return String(Number(Math.pow(10, value).toPrecision(3))); }
  var scale = parts[2] === "%" ? 100 : 1, power = Math.ceil(Math.log10(scale * range / pixels / 10) - 1e-9);
  var digits = Math.max(0, -power), unit = Math.pow(10, power);
  value = Math.round(scale * value / unit) * unit + 0;
  if (digits > 6) { return String(Number(value.toPrecision(3))); }
  return value.toLocaleString("en", { maximumFractionDigits: digits }).replace("-", "\u2212") + (scale === 100 ? " %" : "");
}
function frameOf(sheet) {
  var base = sheet.querySelector(".base").getAttribute("d").match(/[\d.]+/g).map(Number);
  return { left: base[0], right: base[2], top: 30, bottom: base[1] };
}
function pointsOf(line) {
  var numbers = line.getAttribute("d").match(/-?[\d.]+(e-?\d+)?/g).map(Number), points = [];
  for (var i = 0; i < numbers.length; i += 2) { points.push([numbers[i], numbers[i + 1]]); }
  return points;
}
function linesOf(sheet) {
  return Array.from(sheet.querySelectorAll(".line[data-name], .line[data-arm]")).filter(function (line) {
    return !line.classList.contains("off");
  }).map(function (line) { return { name: line.dataset.name || line.dataset.arm, points: pointsOf(line) }; });
}
// The point of any line that is nearest to x. The outline of a histogram has two points at an edge: x itself lies in a bin.
function nearest(lines, x) {
  var best = x, distance = Infinity, stepped = false;
  lines.forEach(function (line) {
    line.points.forEach(function (point, i) {
      if (i && point[0] === line.points[i - 1][0]) { stepped = true; }
      if (Math.abs(point[0] - x) < distance) { distance = Math.abs(point[0] - x); best = point[0]; }
    });
  });
  return stepped ? x : best;
}
function heightAt(points, x) {
  for (var i = 0; i < points.length; i++) {
    var a = points[Math.max(i - 1, 0)], b = points[i];
    if (a[0] <= x && x <= b[0] && (b[0] > a[0] || points.length === 1 || x === b[0] && i === points.length - 1)) {
      return b[0] > a[0] ? a[1] + (b[1] - a[1]) * (x - a[0]) / (b[0] - a[0]) : b[1];
    }
  }
  return null;
}
function chartAt(sheet, x) {
  var frame = frameOf(sheet), lines = linesOf(sheet), width = frame.right - frame.left, height = frame.bottom - frame.top;
  if (!lines.length || x < frame.left || x > frame.right) { return ""; }
  x = nearest(lines, x);
  guide.setAttribute("d", "M" + x + " " + frame.top + "V" + frame.bottom);
  sheet.appendChild(guide);
  var said = [sheet.dataset.of + " " + valueAt(sheet.dataset.x, (x - frame.left) / width, width)];
  lines.forEach(function (line) {
    var y = heightAt(line.points, x);
    if (y !== null) { said.push(line.name + ": " + valueAt(sheet.dataset.y, (frame.bottom - y) / height, height)); }
  });
  return said.join("\n");
}
// A text that an element has, or the names and figures of a cell or a row.
function tipOf(element) {
  if (element.matches(".heat td")) {
    var figures = Array.from(element.querySelectorAll("b, small")).map(function (one) { return one.textContent; });
    return element.dataset.arm + ", " + element.parentNode.dataset.condition + ": " + figures.join("; ");
  }
  if (element.matches("tr")) {
    return element.cells[0].textContent + ", " + element.dataset.arm + ": " + element.cells[2].lastChild.textContent;
  }
  return element.dataset.tip;
}
function rasterAt(image, event) {
  var box = image.getBoundingClientRect(), size = image.dataset.grid.split(" ").map(Number);
  var at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  return "decision " + Math.floor(at[0] * size[0]) + ", neuron " + Math.floor(at[1] * size[1]);
}
function tell(said, x, y) {
  bubble.textContent = said;
  bubble.style.left = Math.max(4, Math.min(x + 14, window.innerWidth - bubble.offsetWidth - 4)) + "px";
  bubble.style.top = (y + 14 + bubble.offsetHeight > window.innerHeight ? y - bubble.offsetHeight - 14 : y + 14) + "px";
}
function point(event) {
  var on = event.target.closest ? event.target.closest(TIPS + ", [data-grid], .sheet") : null, said = "";
  guide.remove();
  isPointed = true;
  if (on && on.matches(TIPS)) { said = tipOf(on); }
  else if (on && on.dataset.grid) { said = rasterAt(on, event); }
  else if (on) {
    var box = on.getBoundingClientRect();
    said = chartAt(on, (event.clientX - box.left) / box.width * on.viewBox.baseVal.width);
  }
  tell(said, event.clientX, event.clientY);
}
document.addEventListener("pointermove", point);
document.addEventListener("pointerdown", point);
window.addEventListener("scroll", function () {
  if (isPointed) { guide.remove(); tell("", 0, 0); }
}, { passive: true });

// The stops of the arrow keys in a chart, from left to right: marks with a text, else the points of the lines.
function stopsOf(sheet) {
  var marks = Array.from(sheet.querySelectorAll("[data-tip]:not(.off)")).map(function (mark) {
    return [Number((mark.querySelector("circle") || mark).getAttribute("cx")), mark.dataset.tip];
  });
  var points = marks.length ? marks : linesOf(sheet).flatMap(function (line) { return line.points; });
  points.sort(function (a, b) { return a[0] - b[0]; });
  return marks.length ? marks : points.filter(function (p, i) { return !i || p[0] !== points[i - 1][0]; });
}
document.querySelectorAll(".sheet").forEach(function (sheet) {
  var at = null;
  function leave() { at = null; guide.remove(); tell("", 0, 0); }
  if (!stopsOf(sheet).length) { return; }
  sheet.setAttribute("tabindex", "0");
  sheet.addEventListener("blur", leave);
  sheet.addEventListener("keydown", function (event) {
    var stops = stopsOf(sheet), last = stops.length - 1;
    if (event.key === "Escape") { leave(); return; }
    var to = { ArrowRight: at === null ? 0 : at + 1, ArrowLeft: at === null ? last : at - 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0 || event.ctrlKey || event.altKey || event.metaKey) { return; }
    event.preventDefault();
    isPointed = false;
    at = Math.max(0, Math.min(last, to));
    guide.remove();
    var box = sheet.getBoundingClientRect(), view = sheet.viewBox.baseVal, x = stops[at][0];
    var said = typeof stops[at][1] === "string" ? stops[at][1] : chartAt(sheet, x);
    tell(said, box.left + x / view.width * box.width, box.bottom);
  });
});
