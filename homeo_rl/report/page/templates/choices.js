// The arms and conditions that are shown. An element of several names disappears with the last of them.
var choices = document.querySelector(".choices");
function choose(boxes) {
  var off = { arm: [], condition: [] };
  boxes.forEach(function (box) { if (!box.checked) { off[box.dataset.pick].push(box.value); } });
  function isOff(element) {
    return ["arm", "condition"].some(function (kind) {
      var names = element.dataset[kind];
      return names !== undefined && names.split("\n").every(function (name) { return off[kind].indexOf(name) >= 0; });
    });
  }
  document.querySelectorAll("main [data-arm], main [data-condition]").forEach(function (element) {
    element.classList.toggle("off", isOff(element));
  });
  document.querySelectorAll("main figure, .charts, .arms, .videos").forEach(function (holder) {
    var own = holder.tagName === "FIGURE" ? "tbody > [data-arm], tbody > [data-condition], svg [data-arm]"
      : ":scope > [data-arm], :scope > [data-condition]";
    var parts = Array.from(holder.querySelectorAll(own));
    holder.classList.toggle("emptied", parts.length > 0 && parts.every(function (part) { return part.matches(".off"); }));
  });
  // Only the first visible row of a condition bears its name.
  document.querySelectorAll(".forest tbody").forEach(function (body) {
    var before = null;
    body.querySelectorAll("tr:not(.off)").forEach(function (row) {
      var name = row.cells[0].textContent;
      row.classList.toggle("again", name === before);
      before = name;
    });
  });
  choices.querySelectorAll("details").forEach(function (one) {
    var all = one.querySelectorAll("input").length, on = one.querySelectorAll("input:checked").length;
    one.querySelector("output").textContent = on === all ? "all " + all : on + " of " + all;
  });
}
if (choices) {
  var boxes = choices.querySelectorAll("input");
  choices.hidden = false;
  choices.addEventListener("change", function () { choose(boxes); });
  choices.addEventListener("click", function (event) {
    if (!event.target.dataset.all) { return; }
    event.target.closest("details").querySelectorAll("input").forEach(function (box) {
      box.checked = event.target.dataset.all === "yes";
    });
    choose(boxes);
  });
  document.addEventListener("click", function (event) {
    choices.querySelectorAll("details").forEach(function (one) {
      if (!one.contains(event.target)) { one.open = false; }
    });
  });
  choices.addEventListener("keydown", function (event) {
    var one = event.target.closest("details");
    if (event.key === "Escape" && one && one.open) { one.open = false; one.querySelector("summary").focus(); }
  });
  choose(boxes);
}
