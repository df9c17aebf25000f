// The page's theme, light or dark, and what is open on paper.
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
  document.querySelectorAll("section details").forEach(function (one) { one.open = true; });
});
