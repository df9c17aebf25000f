// Drives an exported ros2_control plugin through the stand-ins, and the controller header through its own interface.
// What must hold is checked here; the exit status is the line that failed.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "controller_interface/controller_interface.hpp"
#include "diagnostic_msgs/msg/diagnostic_array.hpp"
#include "std_srvs/srv/trigger.hpp"

#include CONTROLLER_HEADER
#include "recorded.h"

#define CHECK(what) do { if (!(what)) { std::printf("line %d: %s\n", __LINE__, #what); return 1; } } while (0)

#ifdef RECORDED_USED  // an observer is not in the healthy recording, which jumps where its robot began anew
#define WATCHED 1
#else
#define WATCHED 0
#endif

static long allocations = 0;
void * operator new(std::size_t size) { ++allocations; return std::malloc(size ? size : 1); }
void operator delete(void * place) noexcept { std::free(place); }
void operator delete(void * place, std::size_t) noexcept { std::free(place); }

controller_interface::ControllerInterface * make_exported_controller();
using std_srvs::srv::Trigger;
using namespace CONTROLLER_SPACE;

static int drive_header()
{
  static Controller c;
  Controller::Observation x{};
  Controller::Action a{}, before{};
  const long start = allocations;
  c.configure(true, 50);
  c.reset(RECORDED_SEED);
  for (int i = 0; i < RECORDED_DECISIONS; ++i) {
    for (std::size_t k = 0; k < Controller::inputs; ++k) x[k] = recorded_observations[i][k];
    CHECK(c.update(x, a));
    for (std::size_t k = 0; k < Controller::actions; ++k) CHECK(WATCHED || a[k] == recorded_healthy[i][k]);
  }
#ifdef RECORDED_USED
  c.configure(false, 1000000);  // whole rehearsals, as in Python
  c.reset(RECORDED_SEED);
  CHECK(c.diagnostics().observes && !c.diagnostics().alarm);
  for (int i = 0; i < RECORDED_DECISIONS; ++i) {
    for (std::size_t k = 0; k < Controller::inputs; ++k) x[k] = recorded_faulty_observations[i][k];
    CHECK(c.update(x, a));
    for (std::size_t k = 0; k < Controller::actions; ++k) CHECK(a[k] == recorded_faulty[i][k]);
  }
  CHECK(c.diagnostics().alarm && c.diagnostics().rejected_sensors > 0 && c.diagnostics().used == HOMEO_ESTIMATE);
#else
  CHECK(!c.diagnostics().observes && !c.diagnostics().alarm);
#endif
  before = a;
  x[0] = NAN;
  CHECK(!c.update(x, a));
  CHECK(a == before);
  x[0] = 0.0F;
  CHECK(c.diagnostics().rejected == 1);
  CHECK(c.diagnostics().healthy);
  CHECK(c.diagnostics().sleeps == 0);
  CHECK(c.request_sleep() == (RECORDED_SLEEPS != 0));
  for (int i = 0; i < 20000 && RECORDED_SLEEPS; ++i) {
    CHECK(c.update(x, a));
    if (c.diagnostics().sleeps == 1 && c.diagnostics().activity == Activity::acting) break;
  }
  CHECK(c.diagnostics().sleeps == RECORDED_SLEEPS);
  CHECK(allocations == start);
  return 0;
}

static int drive_plugin()
{
  auto * plugin = make_exported_controller();
  std::vector<double> observation(RECORDED_INPUTS), action(RECORDED_ACTIONS);
  CHECK(plugin->on_init() == controller_interface::CallbackReturn::SUCCESS);
  CHECK(plugin->on_configure({}) == controller_interface::CallbackReturn::SUCCESS);
  CHECK(plugin->on_activate({}) == controller_interface::CallbackReturn::ERROR);  // no interfaces
  for (auto & value : observation) plugin->state_interfaces_.push_back({&value});
  for (auto & value : action) plugin->command_interfaces_.push_back({&value});
  CHECK(plugin->on_activate({}) == controller_interface::CallbackReturn::SUCCESS);
  const long start = allocations;
  for (int i = 0; i < RECORDED_DECISIONS; ++i) {
    for (int k = 0; k < RECORDED_INPUTS; ++k) observation[k] = static_cast<double>(recorded_observations[i][k]);
    CHECK(plugin->update({}, {}) == controller_interface::return_type::OK);
    for (int k = 0; k < RECORDED_ACTIONS; ++k) CHECK(WATCHED || action[k] == static_cast<double>(recorded_healthy[i][k]));
  }
  CHECK(allocations == start);
  auto service = std::static_pointer_cast<rclcpp::Service<Trigger>>(plugin->get_node()->services.at("~/sleep"));
  auto response = std::make_shared<Trigger::Response>();
  service->call(std::make_shared<Trigger::Request>(), response);
  CHECK(response->success == (RECORDED_SLEEPS != 0));
  plugin->get_node()->timer->call();
  using Messages = rclcpp::Publisher<diagnostic_msgs::msg::DiagnosticArray>;
  const auto messages = std::static_pointer_cast<Messages>(plugin->get_node()->publisher);
  CHECK(messages->published.size() == 1);
  CHECK(messages->published[0].status[0].values[0].value == std::to_string(RECORDED_DECISIONS));
  delete plugin;
  return 0;
}

int main()
{
  return drive_header() || drive_plugin();
}
