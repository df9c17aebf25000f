#pragma once
#include "rclcpp/rclcpp.hpp"

namespace controller_interface
{
enum class CallbackReturn { SUCCESS, ERROR };
enum class return_type { OK, ERROR };
enum class interface_configuration_type { INDIVIDUAL };
struct InterfaceConfiguration
{
  interface_configuration_type type;
  std::vector<std::string> names;
};
struct Loaned
{
  double * place;
  double get_value() const { return *place; }
  void set_value(double value) { *place = value; }
};

class ControllerInterface
{
public:
  virtual ~ControllerInterface() = default;
  virtual CallbackReturn on_init() = 0;
  virtual InterfaceConfiguration state_interface_configuration() const = 0;
  virtual InterfaceConfiguration command_interface_configuration() const = 0;
  virtual CallbackReturn on_configure(const rclcpp_lifecycle::State &) = 0;
  virtual CallbackReturn on_activate(const rclcpp_lifecycle::State &) = 0;
  virtual CallbackReturn on_deactivate(const rclcpp_lifecycle::State &) = 0;
  virtual return_type update(const rclcpp::Time &, const rclcpp::Duration &) = 0;
  std::shared_ptr<rclcpp::Node> get_node() const { return node_; }
  std::vector<Loaned> state_interfaces_, command_interfaces_;

protected:
  template<class T> void auto_declare(const std::string & name, const T & value)
  {
    if constexpr (std::is_same_v<T, int>) {
      node_->parameters[name] = {static_cast<std::int64_t>(value)};
    } else {
      node_->parameters[name] = {value};
    }
  }

private:
  std::shared_ptr<rclcpp::Node> node_ = std::make_shared<rclcpp::Node>();
};
}  // namespace controller_interface
