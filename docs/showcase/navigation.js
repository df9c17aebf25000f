// The navigation world of homeo_rl.envs.navigation, from its readable reference: rays, wheels, noise, outcome.
// Units: metre, radian, second.
"use strict";

const BEAMS = 18;
const U64 = (value) => BigInt.asUintN(64, value);

/** Number `counter` of the stream `key`, in (0, 1] (SplitMix64). */
function uniformOf(key, counter) {
  let z = U64(key + counter * 0x9e3779b97f4a7c15n);
  z = U64((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = U64((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  z ^= z >> 31n;
  return (Number(z >> 11n) + 1) * 1.1102230246251565e-16;
}

function rayToSegment(x, y, ux, uy, [sx, sy, dx, dy]) {
  const ax = sx - x, ay = sy - y, across = ux * dy - uy * dx;
  if (across === 0) return Infinity;
  const along = (ax * uy - ay * ux) / across;
  if (along < -1e-12 || along > 1 + 1e-12) return Infinity;
  const first = ax * ux + ay * uy, last = first + dx * ux + dy * uy;
  const t = Math.min(Math.max((ax * dy - ay * dx) / across, Math.min(first, last)), Math.max(first, last));
  return t >= 0 ? t : Infinity;
}

function rayToDisc(x, y, ux, uy, [cx, cy, radius]) {
  const ax = cx - x, ay = cy - y, middle = ax * ux + ay * uy, outside = ax * ax + ay * ay - radius * radius;
  if (outside <= 0) return 0;
  const root = middle * middle - outside;
  return middle > 0 && root >= 0 ? middle - Math.sqrt(root) : Infinity;
}

function toSegment(x, y, [sx, sy, dx, dy]) {
  const along = Math.min(Math.max(((x - sx) * dx + (y - sy) * dy) / (dx * dx + dy * dy), 0), 1);
  return Math.hypot(x - sx - along * dx, y - sy - along * dy);
}

/** A mover's x, y, radius: out at constant speed, a pause, back, a pause. */
function placeMover([x, y, vx, vy, radius, out, pause, back], time) {
  const phase = time % (out + back + 2 * pause);
  const share = phase < out ? phase / out : phase < out + pause ? 1
    : phase < out + pause + back ? 1 - (phase - out - pause) / back : 0;
  return [x + vx * out * share, y + vy * out * share, radius];
}

live.Navigation = class {
  constructor(robot) {
    this.robot = robot;
    this.rules = robot.rules;
    this.seconds = robot.rules.substep;
    this.reset(0);
  }

  reset(seed) {
    const start = this.robot.starts[seed];
    this.world = this.robot.worlds[start.world];
    [this.x, this.y, this.heading] = start.pose;
    this.goal = start.goal;
    this.movers = start.movers.filter((mover) => mover[0] < 1e5);
    this.key = BigInt(start.key);
    this.draws = 0n;
    this.speed = this.turn = this.path = this.steps = 0;
    this.success = this.collision = false;
    this.distance = this.toGoal();
    this.trail = [[this.x, this.y]];
    this.measure(this.normals());
  }

  toGoal() { return Math.sqrt((this.goal[0] - this.x) ** 2 + (this.goal[1] - this.y) ** 2); }

  /** Standard normal numbers of one decision (Box-Muller): two for the wheels, then one for every ray. */
  normals() {
    const result = [];
    while (result.length < 2 + BEAMS * this.rules.rays_per_beam) {
      const radius = Math.sqrt(-2 * Math.log(uniformOf(this.key, this.draws)));
      const angle = 2 * Math.PI * uniformOf(this.key, this.draws + 1n);
      result.push(radius * Math.cos(angle), radius * Math.sin(angle));
      this.draws += 2n;
    }
    return result;
  }

  measure(noise) {
    const { rules, world } = this, rays = rules.rays_per_beam;
    const here = this.movers.map((mover) => placeMover(mover, this.steps * rules.substeps * rules.substep));
    this.here = here;
    this.ranges = Array.from({ length: BEAMS }, (_, beam) => {
      const sector = Array.from({ length: rays }, (_, ray) => {
        const offset = rays === 1 ? 0 : (0.5 * (rays - 1) - ray) * 10 / rays;
        const angle = this.heading + (85 - 10 * beam + offset) * (Math.PI / 180);
        const ux = Math.cos(angle), uy = Math.sin(angle);
        let t = Infinity;
        for (const segment of world.segments) t = Math.min(t, rayToSegment(this.x, this.y, ux, uy, segment));
        for (const disc of [...world.discs, ...here]) t = Math.min(t, rayToDisc(this.x, this.y, ux, uy, disc));
        t += rules.range_noise * noise[2 + beam * rays + ray];
        return Math.min(Math.max(t, rules.range_least), rules.range_most);
      }).sort((a, b) => a - b);
      return (sector[(rays - 1) >> 1] + sector[rays >> 1]) / 2;
    });
  }

  get observation() {
    let direction = Math.atan2(this.goal[1] - this.y, this.goal[0] - this.x) - this.heading;
    direction -= 2 * Math.PI * Math.floor((direction + Math.PI) / (2 * Math.PI));
    const distance = Math.min(0.3 / Math.max(this.distance, 1e-9), 1);
    const beams = this.ranges.map((range) => Math.min(Math.max(0.35 / range, 0), 1));
    if (!this.rules.spike_coded) return [direction, distance, this.speed, this.turn, ...beams];
    const share = direction / Math.PI, turn = this.turn / 2;
    return [share, -share, distance, this.speed / 0.5, turn, -turn, ...beams].map((v) => Math.min(Math.max(v, 0), 1));
  }

  begin(action) {
    const { rules } = this, noise = this.normals();
    this.noise = noise;
    const [left, right] = [0, 1].map((k) => rules.wheel_least + rules.wheel_span *
      Math.min(Math.max(rules.action_kept * action[k] + rules.action_noise * noise[k], 0), 1));
    this.speed = this.steps < rules.still ? 0 : 0.5 * (left + right);
    this.turn = this.steps < rules.still ? 0 : (right - left) / rules.track;
    this.steps += 1;
  }

  substep() {
    this.x += this.speed * Math.cos(this.heading) * this.rules.substep;
    this.y += this.speed * Math.sin(this.heading) * this.rules.substep;
    this.heading += this.turn * this.rules.substep;
  }

  finish() {
    const { rules, world } = this, before = this.distance;
    this.path += this.speed * rules.substep * rules.substeps;
    this.distance = this.toGoal();
    this.measure(this.noise);
    this.trail.push([this.x, this.y]);
    this.success = this.distance < rules.goal_radius;
    this.collision = !this.success && this.steps > rules.immune && this.collides(world);
    const reward = this.success ? 30 : this.collision ? -20 : 15 * (before - this.distance);
    return { reward, ended: this.success || this.collision };
  }

  collides(world) {
    const { rules, x, y } = this;
    if (this.ranges.some((range) => range < rules.collision_beam)) return true;
    if (this.here.some(([cx, cy, radius]) => Math.hypot(cx - x, cy - y) - radius < rules.collision_mover)) return true;
    return world.segments.some((segment) => toSegment(x, y, segment) < rules.collision_clearance) ||
      world.discs.some(([cx, cy, radius]) => Math.max(Math.hypot(cx - x, cy - y) - radius, 0) < rules.collision_clearance);
  }

  get facts() {
    return this.success ? "at the goal" : this.collision ? "collided" : `goal in ${this.distance.toFixed(1)} m`;
  }
};
