#include "trainer/config/config_give_way.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "comm/base/counted.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/key_changes.h"
#include "trainer/config/step_range.h"

namespace moe {
namespace {

// Beyond any run; products of two stay far from the end of 64 bits.
constexpr int64_t kMost = int64_t{1} << 40;
constexpr int64_t kMostHeads = 1 << 16;

bool IsCount(int64_t value) { return value > 0 && value <= kMost; }

// The rules, each on the configuration that those before it left.
class Rules : public KeyChanges {
 public:
  Rules(const ConfigLayers& layers, TrainConfig& config)
      : KeyChanges(layers, config) {}

  void Length();
  void Vocabulary(int64_t pieces);
  void Experts();
  void Heads();
  void Batch();
  void Positions(int64_t window);
  void Decay();
  void WarmUp();
  void LearningRate();
  void Trace();
  void Chunks();
  void AuxLoss();

 private:
  bool LengthIsGiven() const {
    return IsGiven("schedule.steps") || IsGiven("schedule.tokens");
  }
  // 0: not known yet.
  int64_t Steps() const;

  bool FitHeadsTo(int64_t kv_heads, absl::string_view because_of);
  void ChangeHeadsToMultipleOf(int64_t kv_heads);
  void Lengthen(int64_t steps, const std::vector<Reason>& reasons);
  // The share of `steps` that `value` is of the preset's.
  int64_t ShareOfRun(int64_t value, int64_t steps) const;
};

int64_t Rules::Steps() const {
  const ScheduleConfig& schedule = config().schedule();
  if (IsCount(schedule.steps())) return schedule.steps();
  if (schedule.tokens() <= 0 || !IsCount(config().batch().global_size()) ||
      !IsCount(config().batch().sequence_length()))
    return 0;
  const int64_t steps = StepsOf(config());
  return IsCount(steps) ? steps : 0;
}

void Rules::Length() {
  ScheduleConfig& schedule = *config().mutable_schedule();
  if (schedule.steps() <= 0 || schedule.tokens() <= 0) return;
  if (!IsGiven("schedule.steps")) {
    Change("schedule.steps", "schedule.tokens", [&] { schedule.set_steps(0); });
  } else if (!IsGiven("schedule.tokens")) {
    Change("schedule.tokens", "schedule.steps",
           [&] { schedule.set_tokens(0); });
  }
}

void Rules::Vocabulary(int64_t pieces) {
  if (pieces <= config().model().vocab_size() || IsGiven("model.vocab_size"))
    return;
  Change("model.vocab_size",
         {Reason::Fact(absl::StrCat("data.tokenizer has ", pieces, " pieces"))},
         [&] {
           config().mutable_model()->set_vocab_size(static_cast<int>(pieces));
         });
}

void Rules::Experts() {
  ModelConfig& model = *config().mutable_model();
  if (model.num_experts_per_tok() <= model.num_local_experts() ||
      model.num_local_experts() < 1)
    return;
  if (!IsGiven("model.num_experts_per_tok")) {
    Change("model.num_experts_per_tok", "model.num_local_experts",
           [&] { model.set_num_experts_per_tok(model.num_local_experts()); });
  } else if (!IsGiven("model.num_local_experts")) {
    Change("model.num_local_experts", "model.num_experts_per_tok",
           [&] { model.set_num_local_experts(model.num_experts_per_tok()); });
  }
}

// The number of heads next to today's that `kv_heads` divides and that fits
// hidden_size; false: there is none.
bool Rules::FitHeadsTo(int64_t kv_heads, absl::string_view because_of) {
  ModelConfig& model = *config().mutable_model();
  const int64_t most = model.head_dim() > 0
                           ? model.num_attention_heads() + kv_heads
                           : int64_t{model.hidden_size()} / 2;
  int64_t nearest = 0;
  for (int64_t heads = kv_heads; heads <= std::min(most, kMostHeads);
       heads += kv_heads) {
    if (model.head_dim() == 0 && model.hidden_size() % (2 * heads) != 0)
      continue;
    const int64_t today = model.num_attention_heads();
    if (nearest == 0 || std::abs(heads - today) < std::abs(nearest - today))
      nearest = heads;
  }
  if (nearest == 0) return false;
  Change("model.num_attention_heads", because_of,
         [&] { model.set_num_attention_heads(static_cast<int>(nearest)); });
  return true;
}

// The multiple next to today's, whatever hidden_size is.
void Rules::ChangeHeadsToMultipleOf(int64_t kv_heads) {
  ModelConfig& model = *config().mutable_model();
  const int64_t times = (model.num_attention_heads() + kv_heads / 2) / kv_heads;
  const int64_t heads = std::max<int64_t>(1, times) * kv_heads;
  if (heads > kMostHeads) return;
  Change("model.num_attention_heads", "model.num_key_value_heads",
         [&] { model.set_num_attention_heads(static_cast<int>(heads)); });
}

void Rules::Heads() {
  ModelConfig& model = *config().mutable_model();
  if (model.num_attention_heads() < 1 || model.num_key_value_heads() < 1 ||
      model.hidden_size() < 1 || model.head_dim() < 0)
    return;
  const bool may_change_heads = !IsGiven("model.num_attention_heads");
  const bool may_change_kv = !IsGiven("model.num_key_value_heads");
  const bool may_change_width = !IsGiven("model.hidden_size");
  const auto fits_width = [&] {
    return model.head_dim() > 0 ||
           model.hidden_size() % (2 * int64_t{model.num_attention_heads()}) ==
               0;
  };
  const auto fits_kv = [&] {
    return model.num_attention_heads() % model.num_key_value_heads() == 0;
  };
  if (!fits_kv() && !may_change_kv && may_change_heads &&
      !FitHeadsTo(model.num_key_value_heads(), "model.num_key_value_heads") &&
      may_change_width)
    ChangeHeadsToMultipleOf(model.num_key_value_heads());
  const bool heads_fit_width =
      fits_width() ||
      (may_change_heads &&
       FitHeadsTo(may_change_kv ? 1 : model.num_key_value_heads(),
                  "model.hidden_size"));
  if (!heads_fit_width && may_change_width) {
    const int64_t unit = 2 * int64_t{model.num_attention_heads()};
    const int64_t width = ((model.hidden_size() - 1) / unit + 1) * unit;
    if (IsCount(width) && width <= (1 << 20)) {
      Change("model.hidden_size", "model.num_attention_heads",
             [&] { model.set_hidden_size(static_cast<int>(width)); });
    }
  }
  if (!fits_kv() && may_change_kv) {
    Change("model.num_key_value_heads", "model.num_attention_heads", [&] {
      model.set_num_key_value_heads(
          std::gcd(model.num_attention_heads(), model.num_key_value_heads()));
    });
  }
}

void Rules::Batch() {
  BatchConfig& batch = *config().mutable_batch();
  if (batch.micro_size() <= batch.global_size() || batch.global_size() < 1)
    return;
  if (!IsGiven("batch.micro_size")) {
    Change("batch.micro_size", "batch.global_size",
           [&] { batch.set_micro_size(batch.global_size()); });
  } else if (!IsGiven("batch.global_size")) {
    Change("batch.global_size", "batch.micro_size",
           [&] { batch.set_global_size(batch.micro_size()); });
  }
}

void Rules::Positions(int64_t window) {
  ModelConfig& model = *config().mutable_model();
  BatchConfig& batch = *config().mutable_batch();
  const int positions = model.max_position_embeddings();
  const bool by_window = window > 0 && (positions < 1 || window < positions);
  const int64_t most = by_window ? window : positions;
  if (most < 1 || batch.sequence_length() <= most) return;
  if (!IsGiven("batch.sequence_length")) {
    const Reason reason =
        by_window ? Reason::Fact(absl::StrCat(
                        "the checkpoint's sliding_window is ", most))
                  : Reason::Key("model.max_position_embeddings");
    Change("batch.sequence_length", {reason},
           [&] { batch.set_sequence_length(static_cast<int>(most)); });
  } else if (positions > 0 && batch.sequence_length() > positions &&
             !IsGiven("model.max_position_embeddings")) {
    Change("model.max_position_embeddings", "batch.sequence_length",
           [&] { model.set_max_position_embeddings(batch.sequence_length()); });
  }
}

void Rules::Decay() {
  ScheduleConfig& schedule = *config().mutable_schedule();
  const bool wsd = schedule.decay() == ScheduleConfig::WSD;
  if (!wsd && schedule.cooldown_steps() > 0) {
    if (!IsGiven("schedule.decay")) {
      Change("schedule.decay", "schedule.cooldown_steps",
             [&] { schedule.set_decay(ScheduleConfig::WSD); });
    } else if (!IsGiven("schedule.cooldown_steps")) {
      Change("schedule.cooldown_steps", "schedule.decay",
             [&] { schedule.set_cooldown_steps(0); });
    }
  } else if (wsd && schedule.cooldown_steps() == 0 &&
             !IsGiven("schedule.cooldown_steps")) {
    const int64_t tenth = std::max<int64_t>(1, Steps() / 10);
    Change("schedule.cooldown_steps", "schedule.decay",
           [&] { schedule.set_cooldown_steps(tenth); });
  }
}

void Rules::Lengthen(int64_t steps, const std::vector<Reason>& reasons) {
  ScheduleConfig& schedule = *config().mutable_schedule();
  Change("schedule.steps", reasons, [&] { schedule.set_steps(steps); });
  if (schedule.tokens() != 0)
    Change("schedule.tokens", "schedule.steps",
           [&] { schedule.set_tokens(0); });
}

int64_t Rules::ShareOfRun(int64_t value, int64_t steps) const {
  const int64_t of = layers().preset.schedule().steps();
  const double share =
      IsCount(of) ? static_cast<double>(value) / static_cast<double>(of) : 0.1;
  return static_cast<int64_t>(share * static_cast<double>(steps));
}

// warmup_steps + cooldown_steps <= steps. A run of given length shortens what
// nobody gave; one that is too short for what was given grows.
void Rules::WarmUp() {
  ScheduleConfig& schedule = *config().mutable_schedule();
  const int64_t steps = Steps();
  const auto too_long = [&] {
    return schedule.warmup_steps() + schedule.cooldown_steps() > steps;
  };
  if (steps == 0 || schedule.warmup_steps() < 0 ||
      schedule.warmup_steps() > kMost || schedule.cooldown_steps() < 0 ||
      schedule.cooldown_steps() > kMost || !too_long())
    return;
  const bool warm_up_is_given = IsGiven("schedule.warmup_steps");
  const bool cool_down_is_given = IsGiven("schedule.cooldown_steps");
  const int64_t given_warm_up = warm_up_is_given ? schedule.warmup_steps() : 0;
  // A cool-down has one step at least.
  const int64_t least_cool_down =
      cool_down_is_given ? schedule.cooldown_steps()
                         : std::min<int64_t>(1, schedule.cooldown_steps());
  if (given_warm_up + least_cool_down > steps) {
    if (LengthIsGiven()) return;
    std::vector<Reason> reasons;
    if (schedule.warmup_steps() > 0)
      reasons.push_back(Reason::Key("schedule.warmup_steps"));
    if (schedule.cooldown_steps() > 0)
      reasons.push_back(Reason::Key("schedule.cooldown_steps"));
    Lengthen(schedule.warmup_steps() + schedule.cooldown_steps(), reasons);
    return;
  }
  const Reason length =
      Reason::Fact(absl::StrCat("the run has ", Counted(steps, "step")));
  if (!cool_down_is_given && schedule.cooldown_steps() > 0) {
    const int64_t wanted =
        HasKey(layers().preset, "schedule.cooldown_steps")
            ? std::min(schedule.cooldown_steps(),
                       ShareOfRun(schedule.cooldown_steps(), steps))
            : schedule.cooldown_steps();
    const int64_t shorter =
        std::clamp<int64_t>(wanted, 1, steps - given_warm_up);
    std::vector<Reason> reasons = {length};
    if (given_warm_up > 0)
      reasons.push_back(Reason::Key("schedule.warmup_steps"));
    if (shorter != schedule.cooldown_steps())
      Change("schedule.cooldown_steps", reasons,
             [&] { schedule.set_cooldown_steps(shorter); });
  }
  if (too_long() && !warm_up_is_given && schedule.warmup_steps() > 0) {
    const int64_t shorter = std::min(ShareOfRun(schedule.warmup_steps(), steps),
                                     steps - schedule.cooldown_steps());
    std::vector<Reason> reasons = {length};
    if (schedule.cooldown_steps() > 0)
      reasons.push_back(Reason::Key("schedule.cooldown_steps"));
    Change("schedule.warmup_steps", reasons,
           [&] { schedule.set_warmup_steps(shorter); });
  }
}

void Rules::LearningRate() {
  ScheduleConfig& schedule = *config().mutable_schedule();
  OptimizerConfig& optimizer = *config().mutable_optimizer();
  if (!(schedule.min_learning_rate() > optimizer.learning_rate()) ||
      !(optimizer.learning_rate() >= 0) ||
      !std::isfinite(schedule.min_learning_rate()))
    return;
  if (!IsGiven("schedule.min_learning_rate")) {
    // The share of the largest that it had.
    const double of = layers().preset.optimizer().learning_rate();
    const double share = of > 0 ? schedule.min_learning_rate() / of : 0;
    Change("schedule.min_learning_rate", "optimizer.learning_rate", [&] {
      schedule.set_min_learning_rate(std::min(1.0, share) *
                                     optimizer.learning_rate());
    });
  } else if (!IsGiven("optimizer.learning_rate")) {
    Change("optimizer.learning_rate", "schedule.min_learning_rate",
           [&] { optimizer.set_learning_rate(schedule.min_learning_rate()); });
  }
}

void Rules::Trace() {
  const absl::StatusOr<StepRange> range =
      ParseStepRange(config().log().trace_steps());
  const int64_t steps = Steps();
  if (!range.ok() || steps == 0 || range->first <= steps || LengthIsGiven())
    return;
  Lengthen(range->first, {Reason::Key("log.trace_steps")});
}

void Rules::Chunks() {
  RunConfig& run = *config().mutable_run();
  if (run.expert_chunk_rows() <= 0 || run.recompute() == RunConfig::EXPERTS)
    return;
  if (!IsGiven("run.recompute")) {
    Change("run.recompute", "run.expert_chunk_rows",
           [&] { run.set_recompute(RunConfig::EXPERTS); });
  } else if (!IsGiven("run.expert_chunk_rows")) {
    Change("run.expert_chunk_rows", "run.recompute",
           [&] { run.set_expert_chunk_rows(0); });
  }
}

void Rules::AuxLoss() {
  RouterConfig& router = *config().mutable_router();
  if (router.aux_loss_semantics() != RouterConfig::HF_MIXTRAL ||
      router.aux_loss_scope() == RouterConfig::MICRO_BATCH)
    return;
  if (!IsGiven("router.aux_loss_scope")) {
    Change("router.aux_loss_scope", "router.aux_loss_semantics",
           [&] { router.set_aux_loss_scope(RouterConfig::MICRO_BATCH); });
  } else if (!IsGiven("router.aux_loss_semantics")) {
    Change("router.aux_loss_semantics", "router.aux_loss_scope",
           [&] { router.set_aux_loss_semantics(RouterConfig::SWITCH); });
  }
}

}  // namespace

std::vector<std::string> GiveWay(const ConfigLayers& layers,
                                 const OutsideBounds& bounds,
                                 TrainConfig& config) {
  Rules rules(layers, config);
  rules.Vocabulary(bounds.tokenizer_pieces);
  rules.Experts();
  rules.Heads();
  rules.Batch();
  rules.Positions(bounds.sliding_window);
  rules.Length();
  rules.Trace();
  rules.Decay();
  rules.WarmUp();
  rules.LearningRate();
  rules.Chunks();
  rules.AuxLoss();
  return rules.Notes();
}

}  // namespace moe
