// The controller in C, compiled to WebAssembly: one instance is one controller with memory of its own.
"use strict";

const live = { robots: [] };

/** Bytes of a gzipped file in base64. */
live.unpack = async (text) => {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

live.BUSY = 1;
live.FAILED = 2; // of a self-test: a layer answers otherwise than it did

live.DUE = 3; // of a measurement: whether an estimate takes its place has to be rehearsed

/** Parts of the mechanism, as bits of live_start. */
live.MECHANISMS = { none: 0, dwam: 1, sleep: 2, "dwam+sleep": 3, observer: 4, "sleep+observer": 6 };

/** What the policy gets in an alarm, as live_alarm numbers it. */
live.SOURCES = ["sensor alarm", "estimating", "subtracts offsets", "corrects scales"];

/** Pseudo-random numbers in [0, 1) (mulberry32), and standard normal ones. */
live.Random = class {
  constructor(seed) { this.state = seed >>> 0; }

  uniform() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  normal() {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
};

live.Controller = class {
  /** @param module a compiled WebAssembly.Module of live.c */
  static async make(module) {
    const { exports } = await WebAssembly.instantiate(module, {});
    exports._initialize?.();
    return new live.Controller(exports);
  }

  constructor(exports) {
    this.c = exports;
    this.layers = Array.from({ length: exports.live_layers() }, (_, k) => ({
      inputs: exports.live_inputs(k), size: exports.live_size(k),
    }));
    this.start(0, 0);
  }

  /** Switch parts of the mechanism on, and reset. */
  start(parts, seed) {
    this.parts = parts;
    if (this.c.live_start(parts, seed) !== 0) throw new Error("controller: no memory");
    this.forget();
  }

  /** Trained weights, no adaptation; randomness of numpy.random.default_rng(seed). */
  reset(seed) {
    this.c.live_reset(seed);
    this.forget();
  }

  /** An episode begins with the weights as they are; dwam forgets what it learned: its self-test is due again. */
  restart(seed) {
    this.c.live_restart(seed);
    this.forget();
  }

  forget() {
    this.job = null;
    this.slices = 0;
    this.tested = null;
    this.due = false;
  }

  /**
   * Decide; `action` then has the action, a view that the next decision overwrites.
   * @param whole rehearse what is due before, as the Python session does, and not in slices
   */
  act(observation, whole) {
    new Float32Array(this.c.memory.buffer, this.c.live_observation(), observation.length).set(observation);
    this.due = this.c.live_observe() === live.DUE;
    if (whole) while (this.due) this.rehearse();
    this.refused = this.c.live_act() !== 0;
  }

  action(size) { return new Float32Array(this.c.memory.buffer, this.c.live_action(), size); }

  /** Mean rates of a layer's neurons in the last decision. */
  rates(layer) { return new Float32Array(this.c.memory.buffer, this.c.live_rates(layer), this.layers[layer].size); }

  change(layer) { return this.c.live_change(layer); }

  drift(layer) { return this.c.live_drift(layer); }

  get sleeps() { return this.c.live_sleeps(); }

  /** Continue the rehearsal that is due. */
  rehearse() { this.due = this.c.live_rehearse_step(64) === live.BUSY; }

  /** What the observer does, in words; empty without an alarm. */
  get alarm() { return live.SOURCES[this.c.live_alarm()] ?? ""; }

  /** What the observer puts in the place of so many measurements; null where it does not. */
  estimate(size) {
    const place = this.c.live_estimate();
    return place ? new Float32Array(this.c.memory.buffer, place, size) : null;
  }

  /** Start a self-test if the mechanism's schedule asks for one. */
  testIfDue() {
    if (this.job === null && this.parts !== 0 && this.c.live_selftest_due()) this.test();
  }

  test() { if (this.parts !== 0 && this.c.live_selftest_start() === 0) this.begin("test"); }

  sleep() { if (this.parts !== 0 && this.c.live_sleep_start() === 0) this.begin("sleep"); }

  begin(job) {
    this.job = job;
    this.slices = 0;
  }

  /** Continue a rehearsal, a self-test or a sleep for so many milliseconds; a test that fails is followed by a sleep. */
  work(milliseconds) {
    const end = performance.now() + milliseconds;
    while (this.due && performance.now() < end) this.rehearse();
    while (this.job !== null) {
      const result = this.job === "test" ? this.c.live_selftest_step(64) : this.c.live_sleep_step(64);
      this.slices += 64;
      if (result !== live.BUSY) {
        const job = this.job;
        this.job = null;
        if (job === "test") {
          this.tested = result === live.FAILED ? "failed" : "passed";
          if (result === live.FAILED) this.sleep();
        }
      }
      if (performance.now() >= end) break;
    }
  }

  /** Damage the trained weights. @param faults see live.Faults */
  damage(faults) {
    this.reset(faults.seed);
    const last = this.layers.length - 1;
    for (let k = 0; k <= last; k++) {
      if (faults.layer >= 0 && faults.layer !== k) continue;
      const draw = (kind) => (faults.seed * 1009 + kind * 101 + k) >>> 0;
      if (faults.synapses > 0) this.c.live_lose_synapses(k, faults.synapses, draw(1));
      if (faults.noise > 0) this.c.live_disturb_weights(k, faults.noise, draw(2));
      if (faults.neurons > 0 && k < last) this.c.live_kill_neurons(k, faults.neurons, draw(3));
    }
  }
};
