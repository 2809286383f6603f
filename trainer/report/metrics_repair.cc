#include "trainer/report/metrics_repair.h"

#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "trainer/checkpoint/format/json_handler.h"

namespace moe {
namespace {

// Takes "step" of the outermost object and passes over everything else.
class StepHandler final : public JsonHandler {
 public:
  std::optional<int64_t> step() const { return step_; }

  bool null() override { return Other(); }
  bool boolean(bool) override { return Other(); }
  bool number_integer(number_integer_t) override { return Other(); }
  bool number_float(number_float_t, const string_t&) override {
    return Other();
  }
  bool string(string_t&) override { return Other(); }
  bool number_unsigned(number_unsigned_t value) override {
    constexpr auto kMost =
        static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (!IsStep() || value > kMost) return Other();
    step_ = static_cast<int64_t>(value);
    return true;
  }

  bool key(string_t& name) override {
    at_step_ = depth_ == 1 && name == "step";
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ > 0 && !Other()) return false;
    ++depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (!Other()) return false;
    ++depth_;
    return true;
  }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }

 private:
  bool IsStep() const { return depth_ == 1 && at_step_; }
  // A value that is not a number of a step.
  bool Other() {
    return depth_ > 0 && !IsStep() ? true : Refuse("no object with a step");
  }
  bool Leave() {
    --depth_;
    return true;
  }

  std::optional<int64_t> step_;
  int64_t depth_ = 0;
  bool at_step_ = false;  // the key just read was the outermost "step"
};

// Of a line of metrics; nullopt: it is none.
std::optional<int64_t> StepOf(absl::string_view line) {
  StepHandler handler;
  if (!ParseJson(line, handler).ok()) return std::nullopt;
  return handler.step();
}

}  // namespace

RepairedMetrics RepairMetrics(absl::string_view text, int64_t last_step) {
  RepairedMetrics repaired;
  for (int64_t number = 1; !text.empty(); ++number) {
    const absl::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() == text.size() ? line.size()
                                                  : line.size() + 1);
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const std::optional<int64_t> step = StepOf(line);
    if (step.has_value()) {
      if (*step <= last_step) absl::StrAppend(&repaired.kept, line, "\n");
      continue;
    }
    absl::StrAppend(&repaired.rejected, line, "\n");
    if (repaired.num_rejected++ == 0) repaired.first_rejected = number;
  }
  return repaired;
}

}  // namespace moe
