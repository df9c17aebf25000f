#pragma once
#include <string>
#include <vector>
#include "rclcpp/rclcpp.hpp"
namespace diagnostic_msgs::msg
{
struct KeyValue { std::string key, value; };
struct DiagnosticStatus
{
  static constexpr unsigned char OK = 0, WARN = 1;
  unsigned char level = OK;
  std::string name, message;
  std::vector<KeyValue> values;
};
struct Header { rclcpp::Time stamp; };
struct DiagnosticArray
{
  Header header;
  std::vector<DiagnosticStatus> status;
};
}  // namespace diagnostic_msgs::msg
