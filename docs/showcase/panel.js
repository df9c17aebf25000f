// What is read and set beside the robots: a lane's figures, the panels of damage, the list of sensors.
"use strict";

live.element = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

live.byId = (id) => document.getElementById(id);

const TITLES = { healthy: "Healthy", damaged: "Damaged", repaired: "Damaged, repaired" };
const number = (value) => Math.round(value).toLocaleString("en");

/** A lane's picture, raster and figures. */
live.LaneView = class {
  constructor(lane, orbit) {
    const make = live.element;
    this.lane = lane;
    this.view = make("canvas", { className: "view", width: 640, height: 400 });
    this.view.setAttribute("role", "img");
    this.view.setAttribute("aria-label", `${TITLES[lane.name]} robot`);
    const raster = make("canvas", { className: "raster", width: 480 });
    raster.setAttribute("role", "img");
    raster.setAttribute("aria-label", "Spikes: a column is a decision, a row a neuron");
    this.raster = new live.Raster(raster, lane.controller.layers);
    this.state = make("span");
    this.total = make("dd", { className: "large" });
    this.decisions = make("dd");
    this.facts = make("dd");
    this.past = make("p", { className: "past" });
    const pair = (name, value) => make("div", {}, make("dt", { textContent: name }), value);
    this.cells = lane.controller.layers.map((layer, k) => ["rate", "drift", "change"].map(() => make("td")));
    const rows = this.cells.map((cells, k) =>
      make("tr", {}, make("th", { textContent: `Layer ${k + 1}`, scope: "row" }), ...cells));
    const heads = ["", "Rate", "Drift", "Self-test"].map((text) => make("th", { textContent: text, scope: "col" }));
    this.root = make("article", { className: `lane ${lane.name}` },
      make("h2", {}, TITLES[lane.name], this.state), this.view, raster,
      make("dl", {}, pair("Return of this episode", this.total), pair("Decisions", this.decisions), pair("Robot", this.facts)),
      make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)), this.past);
    this.follow(orbit);
  }

  /** Turn the camera where the pointer drags. */
  follow(orbit) {
    let from = null;
    this.view.addEventListener("pointerdown", (event) => { from = event; });
    addEventListener("pointerup", () => { from = null; });
    this.view.addEventListener("pointermove", (event) => {
      if (from === null) return;
      orbit((event.clientX - from.clientX) / 150, (event.clientY - from.clientY) / 150);
      from = event;
    });
  }

  /** Match the canvas to its size on the screen. */
  resize() {
    const box = this.view.getBoundingClientRect(), ratio = Math.min(devicePixelRatio, 2);
    const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
    if (width !== this.view.width || height !== this.view.height) Object.assign(this.view, { width, height });
    return box.width > 0;
  }

  figures() {
    const { lane } = this, { controller } = lane;
    this.total.textContent = number(lane.total);
    this.decisions.textContent = `${number(lane.decisions)} of ${number(lane.robot.limit)}`;
    this.facts.textContent = lane.world.facts;
    this.state.textContent = this.stateText();
    controller.layers.forEach(({ size }, k) => {
      const rates = controller.rates(k), tested = controller.parts !== 0 && controller.tested !== null;
      this.cells[k][0].textContent = (rates.reduce((sum, rate) => sum + rate, 0) / size).toFixed(3);
      this.cells[k][1].textContent = `${(100 * controller.drift(k)).toFixed(1)} %`;
      this.cells[k][2].textContent = tested ? controller.change(k).toFixed(4) : "–";
    });
    const past = lane.history.slice(-4).map(number).join(", ");
    const mean = lane.returns.length === 0 ? "" : `Mean of ${lane.returns.length} episodes: ${number(
      lane.returns.reduce((sum, value) => sum + value, 0) / lane.returns.length)}. `;
    this.past.textContent = mean + (past ? `Episodes before: ${past}` : "");
  }

  stateText() {
    const { controller, mechanism, ended, name } = this.lane;
    if (controller.job === "test") return "tests itself";
    if (controller.job === "sleep") return `${mechanism.includes("sleep") ? "asleep" : "rehearses"}, step ${number(controller.slices)}`;
    if (ended) return "episode over";
    if (mechanism === "none") return name === "repaired" ? "no mechanism" : "";
    const times = controller.sleeps === 1 ? "once" : `${controller.sleeps} times`;
    if (controller.alarm) return `${mechanism}: ${controller.alarm}`;
    if (controller.sleeps > 0) return `${mechanism}: ${mechanism.includes("sleep") ? "slept" : "rehearsed"} ${times}`;
    return controller.tested === null ? mechanism : `${mechanism}: self-test ${controller.tested}`;
  }
};

/** The panels of damage: each control is a row of a field of live.Faults. */
live.CONTROLS = [
  { id: "layer", field: "layer", network: true, read: Number },
  { id: "synapses", field: "synapses", network: true, read: (v) => v / 100, show: (v) => `${v} %` },
  { id: "neurons", field: "neurons", network: true, read: (v) => v / 100, show: (v) => `${v} %` },
  { id: "noise", field: "noise", network: true, read: (v) => v / 500, show: (v) => `σ = ${(v / 500).toFixed(3)}` },
  { id: "actuator", field: "actuator", read: String },
  { id: "weakness", field: "weakness", read: (v) => v / 100, show: (v) => `${v} %` },
  { id: "delay", field: "delay", read: Number, show: (v) => `${v} ${v === "1" ? "decision" : "decisions"}` },
  { id: "sensor", field: "sensor", read: Number },
  { id: "sensor-kind", field: "sensorKind", read: String },
  { id: "sensor-size", field: "sensorSize", read: (v) => v / 100, show: (v) => `${(v / 100).toFixed(1)} deviations` },
];

live.showControl = ({ id, show }) => {
  const control = live.byId(id);
  if (show) control.parentElement.querySelector("output").textContent = show(control.value);
};

/** Fill a <select> with [value, text] pairs. */
live.fill = (id, pairs) => {
  live.byId(id).replaceChildren(...pairs.map(([value, text]) => live.element("option", { value, textContent: text })));
};

/** Bars of what the sensors of a lane report, with the truth and what an observer estimates. */
live.SensorList = class {
  constructor(robot, choose) {
    const make = live.element;
    this.robot = robot;
    this.rows = robot.sensors.map(({ name, unit }, index) => {
      const bar = make("i"), mark = make("b"), guess = make("u");
      const meter = make("span", { className: "meter" }, bar, guess, mark);
      const text = name.replace("position of ", "").replace("velocity of ", "speed of ");
      const button = make("button", { type: "button", title: unit ? `${name} (${unit})` : name }, make("span", { textContent: text }), meter);
      button.addEventListener("click", () => choose(index));
      return { button, bar, mark, guess };
    });
    live.byId("sensors").replaceChildren(...this.rows.map((row) => row.button));
  }

  show(lane) {
    const faults = lane.faults, estimate = lane.controller.estimate(this.rows.length);
    this.rows.forEach(({ button, bar, mark, guess }, k) => {
      const { mean, deviation } = this.robot.sensors[k];
      const place = (value) => Math.min(Math.max((value - mean) / deviation, -3), 3) / 6;
      const received = place(lane.sensed[k]), truth = place(lane.measured[k]);
      bar.style.left = `${50 + 100 * Math.min(received, 0)}%`;
      bar.style.width = `${100 * Math.abs(received)}%`;
      mark.style.left = `calc(${50 + 100 * truth}% - 1px)`;
      guess.hidden = estimate === null;
      if (estimate !== null) guess.style.left = `calc(${50 + 100 * place(estimate[k])}% - 3px)`;
      button.setAttribute("aria-pressed", String(faults.sensorKind !== "none" && (faults.sensor < 0 || faults.sensor === k)));
    });
  }
};
