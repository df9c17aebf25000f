// The page: three lanes of one robot in lockstep, and what the controls do to them.
"use strict";

const SPEEDS = [0.125, 0.25, 0.5, 1, 2, 4];
const NAMES = ["healthy", "damaged", "repaired"];
const REST = 700; // milliseconds that a robot lies there before its next episode
const BREAK = 0.3; // share of the synapses that one press of Break takes
const SPREAD = 0.25; // deviation of sensors that no normaliser knows
const still = matchMedia("(prefers-reduced-motion: reduce)");

live.App = class {
  constructor(mujoco) {
    this.mujoco = mujoco;
    this.running = false;
    this.busy = false;
    this.speed = 1;
    this.seed = 0;
  }

  /** Bring a robot onto the page. */
  async open(index) {
    const robot = live.robots[index];
    this.opening(true); // nothing must touch what is replaced
    robot.module ??= await WebAssembly.compile(await live.unpack(robot.wasm));
    robot.sensors = robot.sensors.map((sensor) => ({ mean: 0, deviation: SPREAD, ...sensor }));
    this.scene?.dispose();
    for (const lane of this.lanes ?? []) for (const part of [lane.world.data, lane.world.model]) part?.delete();
    this.robot = robot;
    this.faults = new live.Faults();
    this.lanes = await Promise.all(NAMES.map(async (name) => {
      const world = robot.kind === "body" ? new live.Body(robot, this.mujoco) : new live.Navigation(robot);
      return new live.Lane(name, robot, world, await live.Controller.make(robot.module), name === "healthy" ? null : this.faults);
    }));
    [this.healthy, this.damaged, this.repaired] = this.lanes;
    this.scene = this.makeScene();
    this.views = this.lanes.map((lane) => new live.LaneView(lane, (right, up) => {
      this.scene?.orbit(right, up);
      this.draw();
    }));
    live.byId("lanes").replaceChildren(...this.views.map((view) => view.root));
    this.fillControls();
    this.setMechanism(live.byId("mechanism").value);
    this.opening(false);
    this.restart(0);
    this.recolour();
    if (this.running) this.wake();
  }

  opening(on) {
    this.busy = this.blank = document.querySelector("main").inert = on;
    live.byId("robot").disabled = on;
  }

  makeScene() {
    if (this.robot.kind !== "body") return new live.NavigationScene();
    try {
      return new live.BodyScene(this.healthy.world);
    } catch (error) {
      this.tell("This browser has no WebGL: the robots run, but are not drawn.");
      return null;
    }
  }

  fillControls() {
    const { robot } = this, layers = this.healthy.controller.layers;
    live.fill("layer", [[-1, "all"], ...layers.map(({ inputs, size }, k) => [k, `${k + 1}: ${inputs} to ${size}`])]);
    live.fill("actuator", Object.keys(this.healthy.groups).map((name) => [name, name]));
    live.fill("sensor", [[-1, "all"], ...robot.sensors.map(({ name }, k) => [k, name])]);
    this.sensors = new live.SensorList(robot, (k) => {
      live.byId("sensor").value = String(k);
      if (this.faults.sensorKind === "none") live.byId("sensor-kind").value = "blind";
      this.readControls();
    });
    this.heal();
  }

  /** Take over what the controls say. The network is damaged anew only if its own damage has changed. */
  readControls() {
    let network = false;
    for (const control of live.CONTROLS) {
      const value = control.read(live.byId(control.id).value);
      if (this.faults[control.field] !== value) {
        network ||= control.network === true;
        if (control.field.startsWith("sensor")) for (const lane of this.lanes) lane.stuck = null;
        this.faults[control.field] = value;
      }
      live.showControl(control);
    }
    if (network) for (const lane of this.lanes) lane.damage();
    this.draw();
  }

  heal() {
    for (const { id } of live.CONTROLS) {
      const control = live.byId(id);
      if (control.tagName === "SELECT") control.selectedIndex = 0;
      else control.value = control.defaultValue;
    }
    this.readControls();
  }

  breakIt() {
    const control = live.byId("synapses");
    control.value = String(Math.min(100, Number(control.value) + 100 * BREAK));
    this.readControls();
    this.tell(`${control.value} % of the synapses of ${this.faults.layer < 0 ? "all layers" : `layer ${this.faults.layer + 1}`} are lost.`);
  }

  setMechanism(name) {
    live.byId("mechanism").value = name;
    this.repaired.begin(name);
    live.byId("sleep").disabled = !name.includes("sleep");
  }

  sleep() {
    if (live.byId("sleep").disabled || this.repaired.controller.job === "sleep") return;
    this.repaired.controller.sleep();
    if (!this.running) this.wake();
  }

  /** Begin an episode in all lanes; damage and repairs stay. */
  restart(seed = this.seed) {
    this.seed = this.faults.seed = seed;
    live.byId("seed").value = String(seed);
    for (const lane of this.lanes) lane.reset(seed);
    for (const view of this.views) view.raster.clear();
    this.draw();
  }

  /** An episode ended in a lane: note its return, and begin the next one there. */
  next(lane) {
    lane.history.push(lane.total);
    lane.reset((lane.seed + 1) % this.robot.starts.length);
  }

  run(on) {
    this.running = on;
    live.byId("play").textContent = on ? "Pause" : "Run";
    this.wake();
  }

  /** Start the loop of frames, which ends where nothing runs and no one sleeps. */
  wake() {
    this.time = null;
    if (!this.waiting) requestAnimationFrame((now) => this.frame(now));
    this.waiting = true;
  }

  frame(now) {
    this.waiting = false;
    if (this.busy) return;
    const passed = now - (this.time ?? now), { controller } = this.repaired;
    this.time = now;
    if (this.running) this.advance(now, passed);
    controller.work(Math.max(8, 0.3 * passed)); // a slow machine does not sleep longer
    this.draw();
    if (!this.running && controller.job === null) return;
    requestAnimationFrame((later) => this.frame(later));
    this.waiting = true;
  }

  /** Advance all lanes by the time that passed, in no more than 25 ms. */
  advance(now, passed) {
    const seconds = this.healthy.world.seconds, begun = performance.now();
    this.debt = Math.min((this.debt ?? 0) + this.speed * passed / 1000, 0.25);
    for (; this.debt >= seconds && performance.now() - begun < 25; this.debt -= seconds) {
      for (const [k, lane] of this.lanes.entries()) {
        if (lane.ended && now - (lane.over ??= now) >= REST) this.next(lane);
        if (lane.substep()) this.views[k].raster.add(lane.controller, live.colour(lane.name));
      }
    }
  }

  draw() {
    if (this.blank || !this.views) return;
    for (const view of this.views) if (view.resize()) this.scene?.draw(view.lane, view.view);
    const now = performance.now();
    if (this.running && now - (this.written ?? 0) < 150) return;
    this.written = now;
    for (const view of this.views) view.figures();
    this.sensors.show(this.repaired.mechanism.includes("observer") ? this.repaired : this.damaged);
  }

  recolour() {
    this.scene?.recolour();
    this.draw();
  }

  /** Play `count` episodes in every lane as fast as possible, and return the returns by lane. */
  async measure(count) {
    const running = this.running, result = {};
    this.run(false);
    this.busy = document.querySelector("main").inert = live.byId("robot").disabled = true;
    for (const lane of this.lanes) {
      lane.returns = [];
      const returns = [];
      for (let k = 0; k < count; k++) {
        this.tell(`Measuring: ${lane.name}, episode ${k + 1} of ${count} …`);
        returns.push(await lane.play((this.seed + k) % this.robot.starts.length));
        this.draw();
      }
      lane.returns = result[lane.name] = returns;
    }
    this.busy = document.querySelector("main").inert = live.byId("robot").disabled = false;
    const mean = (values) => Math.round(values.reduce((sum, value) => sum + value, 0) / values.length).toLocaleString("en");
    this.tell(`Mean return of ${count} episodes: ${NAMES.map((name) => `${name} ${mean(result[name])}`).join(", ")}.`);
    this.restart();
    this.run(running);
    return result;
  }

  tell(text) { live.byId("told").textContent = text; }
};

/** Keys and what they do; buttons do the same. */
live.keys = (app) => ({
  " ": ["run or pause", () => app.run(!app.running)],
  b: ["break: 30 % more of the synapses", () => app.breakIt()],
  s: ["sleep now", () => app.sleep()],
  u: ["undo all damage", () => app.heal()],
  r: ["restart the episode", () => app.restart()],
  n: ["next seed", () => app.restart((app.seed + 1) % app.robot.starts.length)],
  m: ["next mechanism", () => {
    const names = Object.keys(live.MECHANISMS);
    app.setMechanism(names[(names.indexOf(app.repaired.mechanism) + 1) % names.length]);
  }],
  "-": ["slower", () => live.setSpeed(app, -1)],
  "+": ["faster", () => live.setSpeed(app, 1)],
  v: ["next view: all, healthy, damaged, repaired", () => {
    const shown = ["all", ...NAMES];
    live.show(app, shown[(shown.indexOf(live.byId("lanes").dataset.shown) + 1) % shown.length]);
  }],
});

live.setSpeed = (app, step) => {
  const index = Math.min(Math.max(SPEEDS.indexOf(app.speed) + step, 0), SPEEDS.length - 1);
  app.speed = SPEEDS[index];
  live.byId("speed").value = String(app.speed);
};

live.show = (app, name) => {
  live.byId("lanes").dataset.shown = name;
  for (const button of live.byId("tabs").children) button.setAttribute("aria-pressed", String(button.value === name));
  app.draw();
};

live.connect = (app) => {
  const on = (id, event, action) => live.byId(id).addEventListener(event, action);
  const keys = live.keys(app);
  on("play", "click", () => app.run(!app.running));
  on("break", "click", () => app.breakIt());
  on("sleep", "click", () => app.sleep());
  on("heal", "click", () => app.heal());
  on("reset", "click", () => app.restart());
  on("measure", "click", () => app.measure(3));
  on("speed", "change", (event) => { app.speed = Number(event.target.value); });
  on("mechanism", "change", (event) => app.setMechanism(event.target.value));
  on("seed", "change", (event) => {
    const last = app.robot.starts.length - 1;
    app.restart(Math.min(Math.max(Math.round(Number(event.target.value)) || 0, 0), last));
  });
  on("robot", "change", (event) => app.open(Number(event.target.value)));
  for (const { id } of live.CONTROLS) on(id, "input", () => app.readControls());
  on("theme", "click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    app.recolour();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => app.recolour());
  addEventListener("resize", () => app.draw());
  addEventListener("keydown", (event) => {
    const typed = event.target.closest?.("input[type=number], select");
    if (event.ctrlKey || event.metaKey || event.altKey || typed || app.busy) return;
    if (event.key === " " && event.target.closest?.("button, summary")) return;
    const entry = keys[event.key === "=" ? "+" : event.key.toLowerCase()];
    if (entry === undefined) return;
    event.preventDefault();
    entry[1]();
  });
  live.byId("keys").replaceChildren(...Object.entries(keys).map(([key, [text]]) => live.element("tr", {},
    live.element("td", {}, live.element("kbd", { textContent: key === " " ? "Space" : key })), live.element("td", { textContent: text }))));
};

/** Resolves to the app once the page can be used. */
live.ready = (async () => {
  const mujoco = await loadMujoco({ wasmBinary: await live.unpack(live.mujocoWasm) });
  live.mujocoWasm = null;
  const app = new live.App(mujoco);
  live.fill("robot", live.robots.map((robot, k) => [k, `${robot.name} (${robot.env})`]));
  live.fill("mechanism", Object.keys(live.MECHANISMS).map((name) => [name, name]));
  live.fill("speed", SPEEDS.map((speed) => [speed, speed < 1 ? `1/${1 / speed}` : `${speed}`]));
  live.byId("mechanism").value = "sleep";
  live.byId("speed").value = "1";
  live.byId("mujoco-version").textContent = mujoco.mj_versionString?.() ?? "";
  live.byId("tabs").replaceChildren(...["all", ...NAMES].map((name) => {
    const button = live.element("button", { type: "button", value: name, textContent: name === "all" ? "Side by side" : name[0].toUpperCase() + name.slice(1) });
    button.addEventListener("click", () => live.show(app, name));
    return button;
  }));
  live.byId("message").textContent = "";
  document.querySelector("main").hidden = false;
  live.connect(app);
  await app.open(0);
  live.show(app, matchMedia("(max-width: 46rem)").matches ? "repaired" : "all");
  if (!still.matches) app.run(true);
  return app;
})();
live.ready.catch((error) => {
  live.byId("message").textContent = `The page cannot start: ${error.message}. It needs WebAssembly and a browser of 2023 or newer.`;
  throw error;
});
