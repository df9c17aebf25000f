// Stand-ins for the parts of ROS that an exported controller uses; tests drive it through them.
#pragma once
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#define RCLCPP_ERROR(logger, ...) (static_cast<void>(logger), std::fprintf(stderr, __VA_ARGS__))

namespace rclcpp
{
struct Time { std::int64_t nanoseconds = 0; };
struct Duration { std::int64_t nanoseconds = 0; };
struct Logger {};

struct Parameter
{
  std::variant<bool, std::int64_t, std::vector<std::string>> value;
  bool as_bool() const { return std::get<bool>(value); }
  std::int64_t as_int() const { return std::get<std::int64_t>(value); }
  std::vector<std::string> as_string_array() const { return std::get<std::vector<std::string>>(value); }
};

template<class S> struct Service
{
  using SharedPtr = std::shared_ptr<Service>;
  std::function<void(std::shared_ptr<typename S::Request>, std::shared_ptr<typename S::Response>)> call;
};

template<class M> struct Publisher
{
  using SharedPtr = std::shared_ptr<Publisher>;
  std::vector<M> published;
  void publish(const M & message) { published.push_back(message); }
};

struct TimerBase
{
  using SharedPtr = std::shared_ptr<TimerBase>;
  std::function<void()> call;
};

struct Node
{
  std::map<std::string, Parameter> parameters;
  std::map<std::string, std::shared_ptr<void>> services;
  std::shared_ptr<void> publisher;
  TimerBase::SharedPtr timer;
  Parameter get_parameter(const std::string & name) const { return parameters.at(name); }
  Logger get_logger() const { return {}; }
  Time now() const { return {}; }
  template<class S, class F> typename Service<S>::SharedPtr create_service(const std::string & name, F call)
  {
    auto service = std::make_shared<Service<S>>();
    service->call = call;
    services[name] = service;
    return service;
  }
  template<class M> typename Publisher<M>::SharedPtr create_publisher(const std::string &, int)
  {
    auto made = std::make_shared<Publisher<M>>();
    publisher = made;
    return made;
  }
  template<class D, class F> TimerBase::SharedPtr create_wall_timer(D, F call)
  {
    timer = std::make_shared<TimerBase>();
    timer->call = call;
    return timer;
  }
};
}  // namespace rclcpp

namespace rclcpp_lifecycle
{
struct State {};
}  // namespace rclcpp_lifecycle
