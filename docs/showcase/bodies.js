// Robots of MuJoCo: the official WebAssembly build computes the physics; the rules are those of Gymnasium's v5
// environments. A robot is a row of `live.BODIES`; the numbers come with the robot, as Gymnasium has them.
"use strict";

const within = (value, range) => range[0] < value && value < range[1];
const clip = (value, low, high) => Math.min(Math.max(value, low), high);

/**
 * skip: positions that observations leave out. fastest: bound of observed velocities.
 * healthy(q, v, r): whether the robot stands; null: it always does. place(data): x of which the reward takes the speed.
 */
live.BODIES = {
  "HalfCheetah-v5": { skip: 1, fastest: Infinity, healthy: null, place: (data) => data.qpos[0] },
  "Ant-v5": {
    skip: 2, fastest: Infinity, place: (data) => data.xpos[3],
    healthy: (q, v, r) => [...q, ...v].every(Number.isFinite) && r.healthy_z_range[0] <= q[2] && q[2] <= r.healthy_z_range[1],
  },
  "Hopper-v5": {
    skip: 1, fastest: 10, place: (data) => data.qpos[0],
    healthy: (q, v, r) => within(q[1], r.healthy_z_range) && within(q[2], r.healthy_angle_range) &&
      [...q, ...v].slice(2).every((value) => within(value, r.healthy_state_range)),
  },
  "Walker2d-v5": {
    skip: 1, fastest: 10, place: (data) => data.qpos[0],
    healthy: (q, v, r) => within(q[1], r.healthy_z_range) && within(q[2], r.healthy_angle_range),
  },
};

/** One robot in its physics. observation: float64 [D]; a decision is begin, `frames` times substep, and finish. */
live.Body = class {
  constructor(robot, mujoco) {
    this.robot = robot;
    this.mujoco = mujoco;
    this.row = live.BODIES[robot.env];
    this.model = mujoco.MjModel.from_xml_string(robot.xml);
    this.data = new mujoco.MjData(this.model);
    this.seconds = this.model.opt.timestep;
    this.forces = robot.rules.include_cfrc_ext_in_observation === true;
    this.costly = robot.rules.contact_cost_weight ?? 0;
    this.reset(0);
  }

  reset(seed) {
    const [position, velocity] = this.robot.starts[seed];
    this.mujoco.mj_resetData(this.model, this.data);
    this.data.qpos.set(position);
    this.data.qvel.set(velocity);
    this.mujoco.mj_forward(this.model, this.data);
  }

  get observation() {
    const { data, row, robot } = this;
    const skip = robot.rules.exclude_current_positions_from_observation === false ? 0 : row.skip;
    const result = [...data.qpos.slice(skip)];
    for (const value of data.qvel) result.push(clip(value, -row.fastest, row.fastest));
    if (this.forces) {
      const [low, high] = robot.rules.contact_force_range;
      for (const value of data.cfrc_ext.slice(6)) result.push(clip(value, low, high));
    }
    return result;
  }

  begin(action) {
    this.before = this.row.place(this.data);
    this.action = action;
    this.data.ctrl.set(action);
  }

  substep() { this.mujoco.mj_step(this.model, this.data); }

  /** Reward and whether the episode ends, after all substeps. */
  finish() {
    const { data, row } = this, r = this.robot.rules;
    this.speed = (row.place(data) - this.before) / (this.seconds * this.robot.frames);
    let effort = 0, touch = 0;
    for (const value of this.action) effort += value * value;
    if (this.costly > 0 || this.forces) {
      this.mujoco.mj_rnePostConstraint(this.model, data);
      for (const value of data.cfrc_ext) touch += clip(value, ...r.contact_force_range) ** 2;
    }
    const stands = row.healthy === null || row.healthy(data.qpos, data.qvel, r);
    const bonus = row.healthy === null || !stands ? 0 : r.healthy_reward;
    return {
      reward: r.forward_reward_weight * this.speed + bonus - r.ctrl_cost_weight * effort - this.costly * touch,
      ended: !stands && r.terminate_when_unhealthy,
    };
  }

  get facts() { return `${this.speed === undefined ? "0.0" : this.speed.toFixed(1)} m/s`; }
};
