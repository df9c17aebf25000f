// Clips are paused, and shown frame by frame where the browser has a decoder of images; elsewhere a still takes their place.
function control(figure) {
  var row = document.createElement("div"), button = document.createElement("button"), slider = document.createElement("input");
  row.className = "clip";
  button.type = "button";
  slider.type = "range";
  slider.min = slider.value = 0;
  slider.hidden = true;
  slider.setAttribute("aria-label", "frame");
  row.append(button, slider);
  figure.insertBefore(row, figure.querySelector("figcaption"));
  return { button: button, slider: slider };
}
function decode(image, type) {
  var text = atob(image.src.slice(image.src.indexOf(",") + 1)), bytes = new Uint8Array(text.length);
  for (var i = 0; i < text.length; i++) { bytes[i] = text.charCodeAt(i); }
  return new ImageDecoder({ data: bytes, type: type });
}
document.querySelectorAll(".video").forEach(function (figure) {
  var still = figure.querySelector("source"), image = figure.querySelector("img"), media = still.media, timer = 0;
  var calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches, isPaused = calm, isSeen = false, isTaken = false, decoder = null;
  var canvas = document.createElement("canvas"), parts = control(figure), slider = parts.slider;
  function draw() {
    clearTimeout(timer);
    var k = Number(slider.value);
    return decoder.decode({ frameIndex: k }).then(function (result) {
      var frame = result.image, pause = (frame.duration || 1e5) / 1000;
      if (k === Number(slider.value)) { canvas.getContext("2d").drawImage(frame, 0, 0); }
      frame.close();
      clearTimeout(timer);
      if (!isPaused && isSeen) {
        timer = setTimeout(function () { slider.value = (k + 1) % (Number(slider.max) + 1); draw(); }, pause);
      }
    });
  }
  function take() {  // from the browser's animation
    isTaken = true;
    var fresh = decode(image, "image/webp");
    fresh.tracks.ready.then(function () { return fresh.completed; }).then(function () {
      decoder = fresh;
      slider.max = fresh.tracks.selectedTrack.frameCount - 1;
      slider.value = calm ? Math.floor(slider.max / 2) : 0;
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", image.alt);
      return draw();
    }).then(function () {
      figure.insertBefore(canvas, figure.firstChild);
      figure.querySelector("picture").hidden = true;
      slider.hidden = false;
    }, function () { decoder = null; });  // the browser's own animation stays
  }
  function show() {
    parts.button.textContent = isPaused ? "Play" : "Pause";
    still.media = isPaused ? "all" : calm ? "print" : media;
    if (decoder) { draw(); }
  }
  parts.button.addEventListener("click", function () { isPaused = !isPaused; show(); });
  slider.addEventListener("input", function () { isPaused = true; show(); });
  show();
  if (window.ImageDecoder) {
    new IntersectionObserver(function (entries) {
      isSeen = entries[entries.length - 1].isIntersecting;
      if (decoder) { draw(); } else if (isSeen && !isTaken) { take(); }
    }).observe(figure);
  }
});
