// A lane: one robot, its controller, and what is broken between them.
"use strict";

/** What is broken. sensor: an index, or -1 for all. actuator: a key of `groupsOf`. */
live.Faults = class {
  layer = -1; // of the network; -1: all
  synapses = 0; // share of the weights that become 0
  neurons = 0; // share of the hidden neurons that never fire
  noise = 0; // standard deviation added to the weights
  sensor = -1;
  sensorKind = "none"; // blind: reads 0; stuck: reads what it read at the onset; noise: `sensorSize` deviations
  sensorSize = 1;
  actuator = "all";
  weakness = 0; // share of the action that is lost
  delay = 0; // decisions
  seed = 0; // of what is drawn, the same for all lanes

  get any() {
    return this.synapses + this.neurons + this.noise + this.weakness + this.delay > 0 || this.sensorKind !== "none";
  }
};

/** Actuators that can be weakened together, by name: all, the legs, single ones. */
live.groupsOf = (robot) => {
  const all = robot.actuators.map((_, k) => k), groups = { all };
  for (const [name, members] of Object.entries(robot.legs ?? {})) if (members.length < all.length) groups[`leg: ${name}`] = members;
  robot.actuators.forEach(({ name }, k) => { groups[robot.joints?.[k] ?? name] = [k]; });
  return groups;
};

live.Lane = class {
  /**
   * @param name healthy, damaged or repaired
   * @param faults null for a lane that nothing breaks
   */
  constructor(name, robot, world, controller, faults) {
    Object.assign(this, { name, robot, world, controller, faults, seed: 0, mechanism: "none", history: [], returns: [] });
    this.groups = live.groupsOf(robot);
    this.sensed = new Float32Array(robot.sensors.length);
    this.reset(0);
  }

  /** Start the mechanism anew: trained weights, and the damage that is set. */
  begin(mechanism) {
    this.mechanism = mechanism;
    this.controller.start(live.MECHANISMS[mechanism], this.seed);
    this.damage();
  }

  /** Apply what is set to the network; earlier repairs are lost. */
  damage() {
    Object.assign(this, { stuck: null, history: [], returns: [] });
    if (this.faults !== null) this.controller.damage(this.faults);
  }

  /** An episode begins; damage and repairs stay. */
  reset(seed) {
    this.seed = seed;
    this.world.reset(seed);
    this.controller.restart(seed);
    this.random = new live.Random(seed + 1);
    Object.assign(this, { total: 0, decisions: 0, ended: false, over: null, frame: 0, queue: [], stuck: null });
    this.measured = Float32Array.from(this.world.observation);
    this.sensed.set(this.measured);
  }

  /** What the sensors report of `measured`. */
  sense() {
    this.measured = Float32Array.from(this.world.observation);
    this.sensed.set(this.measured);
    const faults = this.faults;
    if (faults === null || faults.sensorKind === "none") return;
    this.stuck ??= this.measured.slice();
    for (let k = 0; k < this.sensed.length; k++) {
      if (faults.sensor >= 0 && faults.sensor !== k) continue;
      if (faults.sensorKind === "blind") this.sensed[k] = 0;
      else if (faults.sensorKind === "stuck") this.sensed[k] = this.stuck[k];
      else this.sensed[k] += faults.sensorSize * this.robot.sensors[k].deviation * this.random.normal();
    }
  }

  /** What the actuators do of an action. */
  drive(action) {
    const faults = this.faults;
    if (faults === null) return action;
    const weak = this.groups[faults.actuator];
    const done = action.map((value, k) => (weak.includes(k) ? value * (1 - faults.weakness) : value));
    this.queue.push(done);
    while (this.queue.length > faults.delay + 1) this.queue.shift();
    return this.queue[0];
  }

  /** One substep of the physics; the first of a decision decides, the last one counts its reward. */
  substep(whole = false) {
    if (this.ended) return false;
    if (this.frame === 0) {
      this.sense();
      this.controller.testIfDue();
      this.controller.act(this.sensed, whole);
      this.world.begin(this.drive(Float64Array.from(this.controller.action(this.robot.actuators.length))));
    }
    this.world.substep();
    this.frame += 1;
    if (this.frame < this.robot.frames) return false;
    this.frame = 0;
    const { reward, ended } = this.world.finish();
    this.total += reward;
    this.decisions += 1;
    this.ended = ended || this.decisions >= this.robot.limit;
    return true;
  }

  /** Finish the self-test and sleep in progress, as the Python session does before a decision. */
  settle() { while (this.controller.job !== null) this.controller.work(1000); }

  /** Run to the end of an episode that begins with `seed`, and return its return. */
  async play(seed) {
    this.reset(seed);
    for (let next = performance.now() + 30; !this.ended;) {
      if (this.frame === 0) {
        this.controller.testIfDue();
        this.settle();
      }
      this.substep(true);
      if (performance.now() > next) {
        await new Promise((resume) => setTimeout(resume));
        next = performance.now() + 30;
      }
    }
    return this.total;
  }
};
