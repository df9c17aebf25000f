// A ros2_control controller around `Controller`: state interfaces in the contract's order become the observation, the
// action goes to the command interfaces. `update` allocates nothing and waits for nothing.
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "controller_interface/controller_interface.hpp"
#include "diagnostic_msgs/msg/diagnostic_array.hpp"
#include "pluginlib/class_list_macros.hpp"
#include "rclcpp/rclcpp.hpp"
#include "std_srvs/srv/trigger.hpp"

#include "@NAME@_controller.hpp"

namespace @NAME@_control
{

using controller_interface::CallbackReturn;
using controller_interface::InterfaceConfiguration;
using controller_interface::interface_configuration_type;
using controller_interface::return_type;
using Trigger = std_srvs::srv::Trigger;

class Ros2Controller : public controller_interface::ControllerInterface
{
public:
  CallbackReturn on_init() override
  {
    auto_declare<std::vector<std::string>>("state_interfaces", {});
    auto_declare<std::vector<std::string>>("command_interfaces", {});
    auto_declare<int>("seed", 1);
    auto_declare<int>("slices_per_update", 1);
    auto_declare<bool>("automatic", true);
    auto_declare<bool>("keep_repaired_weights", true);
    return CallbackReturn::SUCCESS;
  }

  InterfaceConfiguration state_interface_configuration() const override
  {
    return {interface_configuration_type::INDIVIDUAL, get_node()->get_parameter("state_interfaces").as_string_array()};
  }

  InterfaceConfiguration command_interface_configuration() const override
  {
    return {interface_configuration_type::INDIVIDUAL,
      get_node()->get_parameter("command_interfaces").as_string_array()};
  }

  CallbackReturn on_configure(const rclcpp_lifecycle::State &) override
  {
    const auto node = get_node();
    controller_.configure(node->get_parameter("automatic").as_bool(),
      static_cast<int>(node->get_parameter("slices_per_update").as_int()));
    selftest_ = node->create_service<Trigger>("~/selftest",
      [this](const std::shared_ptr<Trigger::Request>, std::shared_ptr<Trigger::Response> response) {
        answer(controller_.request_selftest(), *response);
      });
    sleep_ = node->create_service<Trigger>("~/sleep",
      [this](const std::shared_ptr<Trigger::Request>, std::shared_ptr<Trigger::Response> response) {
        answer(controller_.request_sleep(), *response);
      });
    publisher_ = node->create_publisher<diagnostic_msgs::msg::DiagnosticArray>("/diagnostics", 1);
    timer_ = node->create_wall_timer(std::chrono::seconds(1), [this]() { publish(); });
    return CallbackReturn::SUCCESS;
  }

  CallbackReturn on_activate(const rclcpp_lifecycle::State &) override
  {
    if (state_interfaces_.size() != Controller::inputs || command_interfaces_.size() != Controller::actions) {
      RCLCPP_ERROR(get_node()->get_logger(), "expected %zu state and %zu command interfaces, got %zu and %zu; list "
        "them in the order of contract.json", Controller::inputs, Controller::actions, state_interfaces_.size(),
        command_interfaces_.size());
      return CallbackReturn::ERROR;
    }
    const auto node = get_node();
    controller_.reset(static_cast<std::uint64_t>(node->get_parameter("seed").as_int()),
      node->get_parameter("keep_repaired_weights").as_bool());
    return CallbackReturn::SUCCESS;
  }

  CallbackReturn on_deactivate(const rclcpp_lifecycle::State &) override { return CallbackReturn::SUCCESS; }

  return_type update(const rclcpp::Time &, const rclcpp::Duration &) override
  {
    for (std::size_t k = 0; k < Controller::inputs; ++k) {
      observation_[k] = static_cast<float>(state_interfaces_[k].get_value());
    }
    controller_.update(observation_, action_);
    for (std::size_t k = 0; k < Controller::actions; ++k) {
      command_interfaces_[k].set_value(static_cast<double>(action_[k]));
    }
    return return_type::OK;
  }

private:
  static void answer(bool accepted, Trigger::Response & response)
  {
    response.success = accepted;
    response.message = accepted ? "started" : "the policy was exported without sleep";
  }

  void publish()
  {
    const Diagnostics d = controller_.diagnostics();
    diagnostic_msgs::msg::DiagnosticStatus status;
    status.name = "@NAME@";
    status.level = d.healthy && !d.alarm ? diagnostic_msgs::msg::DiagnosticStatus::OK : diagnostic_msgs::msg::DiagnosticStatus::WARN;
    status.message = d.activity == Activity::acting ? "acting" : d.activity == Activity::testing ? "testing" : "sleeping";
    add(status, "decisions", std::to_string(d.decisions));
    add(status, "rejected observations", std::to_string(d.rejected));
    add(status, "sleeps", std::to_string(d.sleeps));
    add(status, "adaptations rolled back", std::to_string(d.rolled_back));
    if (d.observes) {
      add(status, "sensor alarm", d.alarm ? "yes" : "no");
      add(status, "latency in decisions", std::to_string(d.latency));
      add(status, "rejected sensors", std::to_string(d.rejected_sensors));
      add(status, "in place of the measurement", std::to_string(d.used));
    }
    add(status, "largest change in the last self-test", std::to_string(d.largest_change));
    diagnostic_msgs::msg::DiagnosticArray message;
    message.header.stamp = get_node()->now();
    message.status.push_back(status);
    publisher_->publish(message);
  }

  static void add(diagnostic_msgs::msg::DiagnosticStatus & status, const std::string & key, const std::string & value)
  {
    diagnostic_msgs::msg::KeyValue entry;
    entry.key = key;
    entry.value = value;
    status.values.push_back(entry);
  }

  Controller controller_;
  Controller::Observation observation_{};
  Controller::Action action_{};
  rclcpp::Service<Trigger>::SharedPtr selftest_, sleep_;
  rclcpp::Publisher<diagnostic_msgs::msg::DiagnosticArray>::SharedPtr publisher_;
  rclcpp::TimerBase::SharedPtr timer_;
};

}  // namespace @NAME@_control

PLUGINLIB_EXPORT_CLASS(@NAME@_control::Ros2Controller, controller_interface::ControllerInterface)
