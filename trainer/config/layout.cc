#include "trainer/config/layout.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

constexpr char kTensor[] = "parallel.tensor";
constexpr char kExpert[] = "parallel.expert";
constexpr char kRanks[] = "number of ranks";

// `value` must be divisible by the key's value.
struct Rule {
  absl::string_view name;
  int64_t value = 0;
  absl::string_view key;
  int64_t divisor = 0;

  bool Holds() const { return value % divisor == 0; }
};

// Of a layout whose numbers are in their ranges. Those of the model come first:
// no number of ranks mends them.
std::vector<Rule> Rules(const TrainConfig& config, int world) {
  const ModelConfig& model = config.model();
  const int64_t tensor = config.parallel().tensor();
  const int64_t expert = config.parallel().expert();
  std::vector<Rule> rules = {
      {"batch.sequence_length", config.batch().sequence_length(), kTensor,
       tensor},
      {"model.num_attention_heads", model.num_attention_heads(), kTensor,
       tensor},
      {"model.num_key_value_heads", model.num_key_value_heads(), kTensor,
       tensor}};
  const bool is_given = expert != 0;  // else it is chosen to fit
  if (is_given) {
    rules.push_back({"model.num_local_experts", model.num_local_experts(),
                     kExpert, expert});
  }
  rules.push_back({kRanks, world, kTensor, tensor});
  if (is_given) rules.push_back({kRanks, world, kExpert, expert});
  return rules;
}

// "; REMARK the nearest SINGULAR is 2" or "... PLURAL are 2 and 4"; 0: none.
std::string Nearest(absl::string_view remark, absl::string_view singular,
                    absl::string_view plural, int64_t below, int64_t above) {
  if (below == 0 || above == 0)
    return absl::StrCat("; ", remark, " the nearest ", singular, " is ",
                        std::max(below, above));
  return absl::StrCat("; ", remark, " the nearest ", plural, " are ", below,
                      " and ", above);
}

// What else this number of ranks could give a key of which a rule is broken, or
// nothing: values of which every rule holds divide all that the rules name. No
// rule is of two keys, so that what is said of one holds whatever the other is.
std::string NearestValues(const std::vector<Rule>& rules,
                          absl::string_view key) {
  int64_t all = 0;
  int64_t wanted = 0;
  int64_t world = 0;
  bool is_broken = false;
  for (const Rule& rule : rules) {
    if (rule.name == kRanks) world = rule.value;
    if (rule.key != key) continue;
    all = std::gcd(all, rule.value);
    wanted = rule.divisor;
    is_broken = is_broken || !rule.Holds();
  }
  if (!is_broken) return "";
  int64_t below = std::min(wanted - 1, all);
  while (all % below != 0) --below;
  int64_t above = wanted + 1;
  while (above <= all && all % above != 0) ++above;
  return Nearest(absl::StrCat("with ", world, world == 1 ? " rank" : " ranks"),
                 key, absl::StrCat("values of ", key), below,
                 above <= all ? above : 0);
}

// What other numbers of ranks would do; empty if none would, or this one does.
std::string NearestRanks(const std::vector<Rule>& rules) {
  int64_t unit = 1;
  int64_t world = 0;
  std::vector<std::string> given;
  for (const Rule& rule : rules) {
    if (rule.name != kRanks) {
      if (!rule.Holds()) return "";
      continue;
    }
    world = rule.value;
    unit = std::lcm(unit, rule.divisor);
    given.push_back(absl::StrCat(rule.key, " ", rule.divisor));
  }
  const int64_t below = world / unit * unit;
  if (below == world) return "";
  return Nearest(absl::StrCat("with ", absl::StrJoin(given, " and ")), kRanks,
                 "numbers of ranks", below, below + unit);
}

absl::Status CheckRules(const std::vector<Rule>& rules) {
  const auto broken =
      std::find_if(rules.begin(), rules.end(),
                   [](const Rule& rule) { return !rule.Holds(); });
  if (broken == rules.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      broken->name, " is ", broken->value, ", must be divisible by ",
      broken->key, " (", broken->divisor, ")", NearestValues(rules, kTensor),
      NearestValues(rules, kExpert), NearestRanks(rules)));
}

}  // namespace

absl::StatusOr<Mesh> MakeMesh(const TrainConfig& config, int world) {
  const int tensor = config.parallel().tensor();
  const int expert = config.parallel().expert();
  if (world >= 1 && tensor >= 1 && expert >= 0)
    RETURN_IF_ERROR(CheckRules(Rules(config, world)));
  return Mesh::Create(world, tensor, expert,
                      config.model().num_local_experts());
}

}  // namespace moe
