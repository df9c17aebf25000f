#pragma once
#define PLUGINLIB_EXPORT_CLASS(type, base) \
  base * make_exported_controller();       \
  base * make_exported_controller() { return new type; }
