// Pictures of lanes: robots of MuJoCo in three.js, navigation from above on a plain canvas.
"use strict";

live.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const PLANE = 0, SPHERE = 2, CAPSULE = 3, ELLIPSOID = 4, CYLINDER = 5, BOX = 6;

/** The geometry of a MuJoCo geom, its axis along z. */
function geometryOf(kind, [a, b, c]) {
  const upright = (geometry) => geometry.rotateX(Math.PI / 2);
  if (kind === CAPSULE) return upright(new THREE.CapsuleGeometry(a, 2 * b, 8, 16));
  if (kind === CYLINDER) return upright(new THREE.CylinderGeometry(a, a, 2 * b, 24));
  if (kind === BOX) return new THREE.BoxGeometry(2 * a, 2 * b, 2 * c);
  if (kind === ELLIPSOID) return new THREE.SphereGeometry(1, 24, 16).scale(a, b, c);
  return new THREE.SphereGeometry(a, 24, 16);
}

/** Draws all lanes of a robot with one renderer, one after the other. */
live.BodyScene = class {
  constructor(body) {
    this.renderer = new THREE.WebGLRenderer({ antialias: true });
    this.renderer.shadowMap.enabled = true;
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(40, 1.6, 0.1, 60);
    this.camera.up.set(0, 0, 1);
    this.material = new THREE.MeshStandardMaterial({ roughness: 0.55 });
    const light = new THREE.DirectionalLight(0xffffff, 2.2), reach = 2.5;
    light.castShadow = true;
    Object.assign(light.shadow.camera, { left: -reach, right: reach, top: reach, bottom: -reach, near: 1, far: 12 });
    light.shadow.mapSize.set(1024, 1024);
    this.light = light;
    this.sky = new THREE.HemisphereLight(0xffffff, 0x888888, 1.1);
    this.scene.add(light, light.target, this.sky, this.makeFloor(), ...this.makeMeshes(body.model));
    this.flat = body.robot.env !== "Ant-v5"; // moves in a plane that the camera looks at from the side
    this.turn = this.flat ? 0.25 : 0.7;
    this.rise = this.flat ? 0.16 : 0.55;
  }

  makeFloor() {
    const size = 512, tile = document.createElement("canvas");
    tile.width = tile.height = size;
    this.tile = tile.getContext("2d");
    this.texture = new THREE.CanvasTexture(tile);
    this.texture.wrapS = this.texture.wrapT = THREE.RepeatWrapping;
    this.texture.repeat.set(40, 40);
    this.texture.anisotropy = 8;
    this.texture.colorSpace = THREE.SRGBColorSpace;
    this.floor = new THREE.Mesh(new THREE.PlaneGeometry(80, 80), new THREE.MeshStandardMaterial({ map: this.texture, roughness: 1 }));
    this.floor.receiveShadow = true;
    return this.floor;
  }

  makeMeshes(model) {
    this.meshes = [];
    for (let k = 0; k < model.ngeom; k++) {
      if (model.geom_type[k] === PLANE) continue;
      const mesh = new THREE.Mesh(geometryOf(model.geom_type[k], model.geom_size.slice(3 * k, 3 * k + 3)), this.material);
      mesh.castShadow = mesh.receiveShadow = true;
      mesh.matrixAutoUpdate = false;
      this.meshes.push({ mesh, geom: k });
    }
    return this.meshes.map((entry) => entry.mesh);
  }

  /** Take the colours of the theme. */
  recolour() {
    const ground = live.colour("ground"), line = live.colour("tile");
    this.tile.fillStyle = ground;
    this.tile.fillRect(0, 0, 512, 512);
    this.tile.fillStyle = line;
    this.tile.fillRect(0, 0, 256, 256);
    this.tile.fillRect(256, 256, 256, 256);
    this.texture.needsUpdate = true;
    this.scene.background = new THREE.Color(live.colour("sky"));
    this.scene.fog = new THREE.Fog(this.scene.background, 8, 26);
  }

  draw(lane, canvas) {
    const { data } = lane.world, width = canvas.width, height = canvas.height;
    for (const { mesh, geom } of this.meshes) {
      const m = data.geom_xmat.subarray(9 * geom, 9 * geom + 9), p = data.geom_xpos.subarray(3 * geom, 3 * geom + 3);
      mesh.matrix.set(m[0], m[1], m[2], p[0], m[3], m[4], m[5], p[1], m[6], m[7], m[8], p[2], 0, 0, 0, 1);
    }
    const [x, y] = data.xpos.subarray(3, 6), z = this.flat ? 0.62 : 0.45;
    const distance = this.flat ? 3.5 : 4;
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.camera.position.set(
      x + distance * Math.sin(this.turn) * Math.cos(this.rise), y - distance * Math.cos(this.turn) * Math.cos(this.rise),
      z + distance * Math.sin(this.rise));
    this.camera.lookAt(x, y, z);
    this.light.position.set(x + 1.5, y - 2, 5);
    this.light.target.position.set(x, y, 0);
    this.floor.position.set(2 * Math.round(x / 2), 2 * Math.round(y / 2), 0);
    this.material.color.set(live.colour(lane.name));
    this.renderer.setSize(width, height, false);
    this.renderer.render(this.scene, this.camera);
    canvas.getContext("2d").drawImage(this.renderer.domElement, 0, 0);
  }

  orbit(right, up) {
    this.turn -= right;
    this.rise = Math.min(Math.max(this.rise + up, 0.02), 1.4);
  }

  dispose() {
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }
};

live.NavigationScene = class {
  recolour() {}

  orbit() {}

  dispose() {}

  draw(lane, canvas) {
    const { world } = lane, context = canvas.getContext("2d"), { width, height } = canvas;
    const xs = world.world.outer.map((point) => point[0]), ys = world.world.outer.map((point) => point[1]);
    const left = Math.min(...xs), low = Math.min(...ys), across = Math.max(...xs) - left, up = Math.max(...ys) - low;
    const scale = 0.94 * Math.min(width / across, height / up);
    const shape = (points) => {
      context.beginPath();
      for (const [x, y] of points) context.lineTo(x, y);
    };
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = live.colour("sky");
    context.fillRect(0, 0, width, height);
    context.setTransform(scale, 0, 0, -scale, (width - scale * across) / 2 - scale * left, (height + scale * up) / 2 + scale * low);
    context.fillStyle = live.colour("ground");
    context.strokeStyle = live.colour("soft");
    context.lineWidth = 2 / scale;
    shape(world.world.outer);
    context.closePath();
    context.fill();
    context.stroke();
    context.fillStyle = live.colour("soft");
    for (const polygon of world.world.obstacles) {
      shape(polygon);
      context.fill();
    }
    const disc = (x, y, radius, colour) => {
      context.fillStyle = colour;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    };
    for (const [x, y, radius] of [...world.world.discs, ...world.here]) disc(x, y, radius, live.colour("soft"));
    const colour = live.colour(lane.name);
    context.strokeStyle = colour;
    context.globalAlpha = 0.25;
    world.ranges.forEach((range, beam) => {
      const angle = world.heading + (85 - 10 * beam) * Math.PI / 180;
      shape([[world.x, world.y], [world.x + range * Math.cos(angle), world.y + range * Math.sin(angle)]]);
      context.lineWidth = 1.5 / scale;
      context.stroke();
    });
    context.globalAlpha = 1;
    context.lineWidth = 3 / scale;
    shape([...world.trail, [world.x, world.y]]);
    context.stroke();
    disc(...world.goal, 0.3, live.colour("accent"));
    disc(world.x, world.y, 0.22, colour);
  }
};

/** Spikes of the last decisions: a column is a decision, a row a neuron; the more spikes, the more ink. */
live.Raster = class {
  constructor(canvas, layers) {
    this.rows = layers.flatMap(({ size }, layer) => {
      const shown = Math.min(size, 48);
      return Array.from({ length: shown }, (_, k) => ({ layer, neuron: Math.floor(k * size / shown) }));
    });
    canvas.height = this.rows.length + 4 * (layers.length - 1);
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  clear() { this.context.clearRect(0, 0, this.canvas.width, this.canvas.height); }

  add(controller, colour) {
    const { canvas, context } = this, wide = 2;
    context.globalCompositeOperation = "copy";
    context.globalAlpha = 1;
    context.drawImage(canvas, -wide, 0);
    context.globalCompositeOperation = "source-over";
    context.fillStyle = colour;
    const rates = controller.layers.map((_, k) => controller.rates(k));
    this.rows.forEach(({ layer, neuron }, k) => {
      const rate = rates[layer][neuron];
      if (!(rate > 0)) return;
      context.globalAlpha = Math.min(1, 0.15 + 0.85 * rate);
      context.fillRect(canvas.width - wide, k + 4 * layer, wide, 1);
    });
  }
};
