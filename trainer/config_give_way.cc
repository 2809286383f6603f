#include "trainer/config_give_way.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "comm/check.h"
#include "comm/counted.h"
#include "trainer/config_compare.h"
#include "trainer/config_resolve.h"
#include "trainer/trace_range.h"

namespace moe {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;

// Beyond any run; products of two stay far from the end of 64 bits.
constexpr int64_t kMost = int64_t{1} << 40;

// A section of a configuration, and one of its fields.
struct Place {
  const FieldDescriptor* section;
  const FieldDescriptor* field;
};

Place Find(absl::string_view key) {
  const std::vector<std::string> names = absl::StrSplit(key, '.');
  CHECK(names.size() == 2);
  const FieldDescriptor* section =
      TrainConfig::descriptor()->FindFieldByName(names[0]);
  CHECK(section != nullptr);
  const FieldDescriptor* field =
      section->message_type()->FindFieldByName(names[1]);
  CHECK(field != nullptr);
  return {section, field};
}

const Message& SectionOf(const TrainConfig& config, const Place& place) {
  return config.GetReflection()->GetMessage(config, place.section);
}

bool Has(const TrainConfig& config, absl::string_view key) {
  const Place place = Find(key);
  const Message& section = SectionOf(config, place);
  return section.GetReflection()->HasField(section, place.field);
}

std::string Text(const TrainConfig& config, absl::string_view key) {
  const Place place = Find(key);
  return ConfigValueText(SectionOf(config, place), *place.field);
}

bool IsCount(int64_t value) { return value > 0 && value <= kMost; }

// The rules, each on the configuration that those before it left.
class Rules {
 public:
  Rules(const ConfigLayers& layers, TrainConfig& config)
      : layers_(layers), config_(config) {}

  void Length();
  void Vocabulary(int64_t pieces);
  void Experts();
  void Heads();
  void Batch();
  void Positions();
  void Decay();
  void WarmUp();
  void LearningRate();
  void Trace();
  void Chunks();
  void AuxLoss();

  std::vector<std::string> TakeNotes() { return std::move(notes_); }

 private:
  // Typed, or the checkpoint's.
  bool IsGiven(absl::string_view key) const {
    return Has(layers_.typed, key) || Has(layers_.checkpoint, key);
  }
  bool LengthIsGiven() const {
    return IsGiven("schedule.steps") || IsGiven("schedule.tokens");
  }
  // 0: not known yet.
  int64_t Steps() const;

  // Changes the key's value by `set`. The reason is the other key, or keys.
  template <typename SetFunction>
  void Change(absl::string_view key, absl::string_view reason,
              SetFunction set) {
    const std::string before = Text(config_, key);
    set();
    notes_.push_back(
        absl::StrCat(key, " is ", Text(config_, key), ", not the ",
                     Has(layers_.preset, key) ? "preset's " : "default ",
                     before, ": ", reason));
  }
  // "KEY is VALUE".
  std::string Is(absl::string_view key) const {
    return absl::StrCat(key, " is ", Text(config_, key));
  }
  void FitHeadsTo(int64_t kv_heads, absl::string_view reason);

  const ConfigLayers& layers_;
  TrainConfig& config_;
  std::vector<std::string> notes_;
};

int64_t Rules::Steps() const {
  const ScheduleConfig& schedule = config_.schedule();
  if (IsCount(schedule.steps())) return schedule.steps();
  if (schedule.tokens() <= 0 || !IsCount(config_.batch().global_size()) ||
      !IsCount(config_.batch().sequence_length()))
    return 0;
  const int64_t steps = StepsOf(config_);
  return IsCount(steps) ? steps : 0;
}

void Rules::Length() {
  ScheduleConfig& schedule = *config_.mutable_schedule();
  if (schedule.steps() <= 0 || schedule.tokens() <= 0) return;
  if (!IsGiven("schedule.steps")) {
    Change("schedule.steps", Is("schedule.tokens"),
           [&] { schedule.set_steps(0); });
  } else if (!IsGiven("schedule.tokens")) {
    Change("schedule.tokens", Is("schedule.steps"),
           [&] { schedule.set_tokens(0); });
  }
}

void Rules::Vocabulary(int64_t pieces) {
  if (pieces <= config_.model().vocab_size() || IsGiven("model.vocab_size"))
    return;
  Change("model.vocab_size",
         absl::StrCat("data.tokenizer has ", pieces, " pieces"), [&] {
           config_.mutable_model()->set_vocab_size(static_cast<int>(pieces));
         });
}

void Rules::Experts() {
  ModelConfig& model = *config_.mutable_model();
  if (model.num_experts_per_tok() <= model.num_local_experts() ||
      model.num_local_experts() < 1)
    return;
  if (!IsGiven("model.num_experts_per_tok")) {
    Change("model.num_experts_per_tok", Is("model.num_local_experts"),
           [&] { model.set_num_experts_per_tok(model.num_local_experts()); });
  } else if (!IsGiven("model.num_local_experts")) {
    Change("model.num_local_experts", Is("model.num_experts_per_tok"),
           [&] { model.set_num_local_experts(model.num_experts_per_tok()); });
  }
}

// The number of heads next to today's that `kv_heads` divides and that fits
// hidden_size; none may.
void Rules::FitHeadsTo(int64_t kv_heads, absl::string_view reason) {
  constexpr int64_t kMostHeads = 1 << 16;
  ModelConfig& model = *config_.mutable_model();
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
  if (nearest == 0) return;
  Change("model.num_attention_heads", reason,
         [&] { model.set_num_attention_heads(static_cast<int>(nearest)); });
}

void Rules::Heads() {
  ModelConfig& model = *config_.mutable_model();
  if (model.num_attention_heads() < 1 || model.num_key_value_heads() < 1 ||
      model.hidden_size() < 1 || model.head_dim() < 0)
    return;
  const bool may_change_heads = !IsGiven("model.num_attention_heads");
  const bool may_change_kv = !IsGiven("model.num_key_value_heads");
  const auto fits_width = [&] {
    return model.head_dim() > 0 ||
           model.hidden_size() % (2 * int64_t{model.num_attention_heads()}) ==
               0;
  };
  const auto fits_kv = [&] {
    return model.num_attention_heads() % model.num_key_value_heads() == 0;
  };
  if (!fits_width() && may_change_heads) {
    FitHeadsTo(may_change_kv ? 1 : model.num_key_value_heads(),
               Is("model.hidden_size"));
  } else if (!fits_width() && !IsGiven("model.hidden_size")) {
    const int64_t unit = 2 * int64_t{model.num_attention_heads()};
    const int64_t width = ((model.hidden_size() - 1) / unit + 1) * unit;
    if (IsCount(width) && width <= (1 << 20)) {
      Change("model.hidden_size", Is("model.num_attention_heads"),
             [&] { model.set_hidden_size(static_cast<int>(width)); });
    }
  }
  if (!fits_kv() && may_change_kv) {
    Change("model.num_key_value_heads", Is("model.num_attention_heads"), [&] {
      model.set_num_key_value_heads(
          std::gcd(model.num_attention_heads(), model.num_key_value_heads()));
    });
  } else if (!fits_kv() && may_change_heads) {
    FitHeadsTo(model.num_key_value_heads(), Is("model.num_key_value_heads"));
  }
}

void Rules::Batch() {
  BatchConfig& batch = *config_.mutable_batch();
  if (batch.micro_size() <= batch.global_size() || batch.global_size() < 1)
    return;
  if (!IsGiven("batch.micro_size")) {
    Change("batch.micro_size", Is("batch.global_size"),
           [&] { batch.set_micro_size(batch.global_size()); });
  } else if (!IsGiven("batch.global_size")) {
    Change("batch.global_size", Is("batch.micro_size"),
           [&] { batch.set_global_size(batch.micro_size()); });
  }
}

void Rules::Positions() {
  ModelConfig& model = *config_.mutable_model();
  BatchConfig& batch = *config_.mutable_batch();
  if (model.max_position_embeddings() < 1 ||
      batch.sequence_length() <= model.max_position_embeddings())
    return;
  if (!IsGiven("batch.sequence_length")) {
    Change("batch.sequence_length", Is("model.max_position_embeddings"),
           [&] { batch.set_sequence_length(model.max_position_embeddings()); });
  } else if (!IsGiven("model.max_position_embeddings")) {
    Change("model.max_position_embeddings", Is("batch.sequence_length"),
           [&] { model.set_max_position_embeddings(batch.sequence_length()); });
  }
}

void Rules::Decay() {
  ScheduleConfig& schedule = *config_.mutable_schedule();
  const bool wsd = schedule.decay() == ScheduleConfig::WSD;
  if (!wsd && schedule.cooldown_steps() > 0) {
    if (!IsGiven("schedule.decay")) {
      Change("schedule.decay", Is("schedule.cooldown_steps"),
             [&] { schedule.set_decay(ScheduleConfig::WSD); });
    } else if (!IsGiven("schedule.cooldown_steps")) {
      Change("schedule.cooldown_steps", Is("schedule.decay"),
             [&] { schedule.set_cooldown_steps(0); });
    }
  } else if (wsd && schedule.cooldown_steps() == 0 &&
             !IsGiven("schedule.cooldown_steps")) {
    const int64_t tenth = std::max<int64_t>(1, Steps() / 10);
    Change("schedule.cooldown_steps", Is("schedule.decay"),
           [&] { schedule.set_cooldown_steps(tenth); });
  }
}

// warmup_steps + cooldown_steps <= steps.
void Rules::WarmUp() {
  ScheduleConfig& schedule = *config_.mutable_schedule();
  const int64_t steps = Steps();
  const auto too_long = [&] {
    return schedule.warmup_steps() + schedule.cooldown_steps() > steps;
  };
  if (steps == 0 || schedule.warmup_steps() < 0 ||
      schedule.warmup_steps() > kMost || schedule.cooldown_steps() < 0 ||
      schedule.cooldown_steps() > kMost || !too_long())
    return;
  const std::string length =
      absl::StrCat("the run has ", Counted(steps, "step"),
                   schedule.cooldown_steps() > 0
                       ? absl::StrCat(", ", schedule.cooldown_steps(),
                                      " of them to cool down")
                       : "");
  if (!IsGiven("schedule.warmup_steps") && schedule.warmup_steps() > 0) {
    // The share of the run that it had.
    const int64_t of = layers_.preset.schedule().steps();
    const double share = IsCount(of)
                             ? static_cast<double>(schedule.warmup_steps()) /
                                   static_cast<double>(of)
                             : 0.1;
    const auto shorter =
        static_cast<int64_t>(share * static_cast<double>(steps));
    const int64_t most =
        std::max<int64_t>(0, steps - schedule.cooldown_steps());
    Change("schedule.warmup_steps", length,
           [&] { schedule.set_warmup_steps(std::min(shorter, most)); });
  }
  if (too_long() && schedule.cooldown_steps() > 0 &&
      !IsGiven("schedule.cooldown_steps") && schedule.warmup_steps() < steps) {
    Change("schedule.cooldown_steps", Is("schedule.warmup_steps"), [&] {
      schedule.set_cooldown_steps(steps - schedule.warmup_steps());
    });
  }
  if (too_long() && !LengthIsGiven()) {
    Change("schedule.steps",
           absl::StrCat(Is("schedule.warmup_steps"), " and ",
                        Is("schedule.cooldown_steps")),
           [&] {
             schedule.set_steps(schedule.warmup_steps() +
                                schedule.cooldown_steps());
             schedule.set_tokens(0);
           });
  }
}

void Rules::LearningRate() {
  ScheduleConfig& schedule = *config_.mutable_schedule();
  OptimizerConfig& optimizer = *config_.mutable_optimizer();
  if (!(schedule.min_learning_rate() > optimizer.learning_rate()) ||
      !(optimizer.learning_rate() >= 0) ||
      !std::isfinite(schedule.min_learning_rate()))
    return;
  if (!IsGiven("schedule.min_learning_rate")) {
    // The share of the largest that it had.
    const double of = layers_.preset.optimizer().learning_rate();
    const double share = of > 0 ? schedule.min_learning_rate() / of : 0;
    Change("schedule.min_learning_rate", Is("optimizer.learning_rate"), [&] {
      schedule.set_min_learning_rate(std::min(1.0, share) *
                                     optimizer.learning_rate());
    });
  } else if (!IsGiven("optimizer.learning_rate")) {
    Change("optimizer.learning_rate", Is("schedule.min_learning_rate"),
           [&] { optimizer.set_learning_rate(schedule.min_learning_rate()); });
  }
}

void Rules::Trace() {
  const absl::StatusOr<StepRange> range =
      ParseStepRange(config_.log().trace_steps());
  const int64_t steps = Steps();
  if (!range.ok() || steps == 0 || range->first <= steps || LengthIsGiven())
    return;
  Change("schedule.steps", Is("log.trace_steps"), [&] {
    config_.mutable_schedule()->set_steps(range->first);
    config_.mutable_schedule()->set_tokens(0);
  });
}

void Rules::Chunks() {
  RunConfig& run = *config_.mutable_run();
  if (run.expert_chunk_rows() <= 0 || run.recompute() == RunConfig::EXPERTS)
    return;
  if (!IsGiven("run.recompute")) {
    Change("run.recompute", Is("run.expert_chunk_rows"),
           [&] { run.set_recompute(RunConfig::EXPERTS); });
  } else if (!IsGiven("run.expert_chunk_rows")) {
    Change("run.expert_chunk_rows", Is("run.recompute"),
           [&] { run.set_expert_chunk_rows(0); });
  }
}

void Rules::AuxLoss() {
  RouterConfig& router = *config_.mutable_router();
  if (router.aux_loss_semantics() != RouterConfig::HF_MIXTRAL ||
      router.aux_loss_scope() == RouterConfig::MICRO_BATCH)
    return;
  if (!IsGiven("router.aux_loss_scope")) {
    Change("router.aux_loss_scope", Is("router.aux_loss_semantics"),
           [&] { router.set_aux_loss_scope(RouterConfig::MICRO_BATCH); });
  } else if (!IsGiven("router.aux_loss_semantics")) {
    Change("router.aux_loss_semantics", Is("router.aux_loss_scope"),
           [&] { router.set_aux_loss_semantics(RouterConfig::SWITCH); });
  }
}

}  // namespace

std::vector<std::string> GiveWay(const ConfigLayers& layers,
                                 int64_t tokenizer_pieces,
                                 TrainConfig& config) {
  Rules rules(layers, config);
  rules.Vocabulary(tokenizer_pieces);
  rules.Experts();
  rules.Heads();
  rules.Batch();
  rules.Positions();
  rules.Length();
  rules.Decay();
  rules.WarmUp();
  rules.LearningRate();
  rules.Trace();
  rules.Chunks();
  rules.AuxLoss();
  return rules.TakeNotes();
}

}  // namespace moe
