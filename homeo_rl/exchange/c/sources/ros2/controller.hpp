// The controller for a control loop in C++17: a decision a call, and self-test and sleep in slices between decisions.
// It knows nothing of ROS, allocates nothing, and never blocks; requests and diagnostics may come from other threads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "@NAME@.h"

namespace @NAME@_control
{

enum class Activity : int { acting, testing, sleeping };

struct Diagnostics
{
  Activity activity;
  std::uint64_t decisions, rejected, slices;  // rejected: observations that were not finite; the action was held
  int sleeps, rolled_back;
  bool adapts, healthy;                        // adapts: it can test itself and sleep; healthy: the last self-test passed
  float largest_change;                        // of a layer's mean outputs, in the last self-test
  bool observes, alarm;                        // whether sensors are watched, and are not what the model expects
  int latency, rejected_sensors, used;         // decisions; sensors mostly rejected; what the policy gets (homeo.h)
};

class Controller
{
public:
  static constexpr std::size_t inputs = @UPPER@_INPUTS, actions = @UPPER@_ACTIONS;
  using Observation = std::array<float, inputs>;
  using Action = std::array<float, actions>;

  Controller() { homeo_init(&state_, &@NAME@, memory_.data(), sizeof memory_, 0); }
  Controller(const Controller &) = delete;
  Controller & operator=(const Controller &) = delete;

  // Begin an episode; `keep_weights` leaves repaired weights as they are.
  void reset(std::uint64_t seed, bool keep_weights = false)
  {
    const bool kept = keep_weights && homeo_restart(&state_, seed) == HOMEO_OK;
    if (!kept) homeo_reset(&state_, seed);
    activity_ = Activity::acting;
    action_.fill(0.0F);
    watch(homeo_alarm{});
  }

  // Whether self-tests follow the exported schedule by themselves, and how many slices an update may take for them.
  void configure(bool automatic, int slices_per_update)
  {
    automatic_ = automatic;
    slices_per_update_ = slices_per_update < 1 ? 1 : slices_per_update;
  }

  // From any thread. False: the policy was exported without a mechanism that sleeps.
  bool request_selftest() { return request(1); }
  bool request_sleep() { return request(2); }

  // One control period. False: the observation was not finite, and `action` is the one of before.
  bool update(const Observation & observation, Action & action)
  {
    attend();
    if (homeo_observe(&state_, observation.data()) == HOMEO_DUE) {
      for (int k = 0; k < slices_per_update_ && homeo_rehearse_step(&state_) == HOMEO_BUSY; ++k) {}
    }
    const bool good = homeo_act(&state_, observation.data(), action_.data()) == HOMEO_OK;
    (good ? decisions_ : rejected_).fetch_add(1, std::memory_order_relaxed);
    action = action_;
    sleeps_.store(state_.sleep_count, std::memory_order_relaxed);
    rolled_back_.store(state_.rolled_back, std::memory_order_relaxed);
    if (homeo_alarm found{}; homeo_read_alarm(&state_, &found) == HOMEO_OK) watch(found);
    return good;
  }

  // From any thread.
  Diagnostics diagnostics() const
  {
    return {activity_.load(), decisions_.load(), rejected_.load(), slices_.load(), sleeps_.load(), rolled_back_.load(),
      @NAME@.sleeps != 0, healthy_.load(), change_.load(), @NAME@.senses != nullptr, alarm_.load(), latency_.load(),
      rejected_sensors_.load(), used_.load()};
  }

private:
  bool request(int what)
  {
    if (@NAME@.sleeps == 0) return false;
    requested_.store(what, std::memory_order_relaxed);
    return true;
  }

  void watch(const homeo_alarm & found)
  {
    int rejected = 0;
    for (std::size_t k = 0; k < inputs && found.open; ++k) rejected += found.rejected[k] > 0.5;
    alarm_.store(found.open != 0, std::memory_order_relaxed);
    latency_.store(found.lag, std::memory_order_relaxed);
    used_.store(found.used, std::memory_order_relaxed);
    rejected_sensors_.store(rejected, std::memory_order_relaxed);
  }

  // Start what was asked for or is due, and take some slices of it.
  void attend()
  {
    if (activity_.load() == Activity::acting) {
      const int requested = requested_.exchange(0, std::memory_order_relaxed);
      if (requested == 2) {
        begin(Activity::sleeping);
      } else if (requested == 1 || (automatic_ && homeo_selftest_due(&state_))) {
        repair_ = requested == 0;
        begin(Activity::testing);
      }
    }
    for (int k = 0; k < slices_per_update_ && activity_.load() != Activity::acting; ++k) {
      slices_.fetch_add(1, std::memory_order_relaxed);
      const bool testing = activity_.load() == Activity::testing;
      const int result = testing ? homeo_selftest_step(&state_) : homeo_sleep_step(&state_);
      if (result != HOMEO_BUSY) finish(testing, result);
    }
  }

  void begin(Activity activity)
  {
    const bool testing = activity == Activity::testing;
    const int result = testing ? homeo_selftest_start(&state_) : homeo_sleep_start(&state_);
    if (result == HOMEO_OK) activity_ = activity;
  }

  void finish(bool testing, int result)
  {
    activity_ = Activity::acting;
    if (!testing) return;
    float largest = 0.0F;
    for (int i = 0; i < @NAME@.layers; ++i) largest = state_.change[i] > largest ? state_.change[i] : largest;
    change_ = largest;
    healthy_ = result == HOMEO_PASSED;
    if (result == HOMEO_FAILED && repair_) begin(Activity::sleeping);
  }

  std::array<homeo_word, HOMEO_WORDS(@UPPER@_BYTES)> memory_{};
  homeo state_{};
  Action action_{};
  bool automatic_ = true, repair_ = true;
  int slices_per_update_ = 1;
  std::atomic<int> requested_{0}, sleeps_{0}, rolled_back_{0};
  std::atomic<Activity> activity_{Activity::acting};
  std::atomic<std::uint64_t> decisions_{0}, rejected_{0}, slices_{0};
  std::atomic<int> latency_{0}, rejected_sensors_{0}, used_{0};
  std::atomic<bool> healthy_{true}, alarm_{false};
  std::atomic<float> change_{0.0F};
};

}  // namespace @NAME@_control
