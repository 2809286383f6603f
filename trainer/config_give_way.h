#ifndef TRAINER_CONFIG_GIVE_WAY_H_
#define TRAINER_CONFIG_GIVE_WAY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/config_layers.h"
#include "trainer/train_config.pb.h"

namespace moe {

// Keys that bound each other: where one was typed, or is the checkpoint's, and
// the other is a preset's or a default's, the other takes the nearest value
// that fits, or keeps its share of the run. Two given values that contradict
// stay as they are, for ValidateConfig to refuse, and so does a model that a
// layout (parallel.*) does not fit: a layout changes no numbers.
//
//   schedule.steps                   schedule.tokens
//   schedule.warmup_steps            the length of the run, cooldown_steps
//   schedule.cooldown_steps          decay WSD, the length of the run
//   schedule.min_learning_rate       optimizer.learning_rate
//   log.trace_steps                  schedule.steps
//   batch.micro_size                 batch.global_size
//   batch.sequence_length            model.max_position_embeddings
//   model.num_experts_per_tok        model.num_local_experts
//   model.num_key_value_heads        model.num_attention_heads
//   model.num_attention_heads        model.hidden_size
//   model.vocab_size                 the pieces of data.tokenizer
//   run.recompute                    run.expert_chunk_rows
//   router.aux_loss_scope            router.aux_loss_semantics
//
// Any values, also such as ValidateConfig refuses. `tokenizer_pieces` is that
// of data.tokenizer, 0 where it is not known. Returns a sentence for each key
// that gave way: "KEY is V, not the preset's U: REASON".
std::vector<std::string> GiveWay(const ConfigLayers& layers,
                                 int64_t tokenizer_pieces, TrainConfig& config);

}  // namespace moe

#endif  // TRAINER_CONFIG_GIVE_WAY_H_
