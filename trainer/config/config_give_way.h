#ifndef TRAINER_CONFIG_CONFIG_GIVE_WAY_H_
#define TRAINER_CONFIG_CONFIG_GIVE_WAY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/config/config_layers.h"
#include "trainer/config/train_config.pb.h"

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
//   batch.sequence_length            model.max_position_embeddings, the
//                                    checkpoint's sliding_window
//   model.num_experts_per_tok        model.num_local_experts
//   model.num_key_value_heads        model.num_attention_heads
//   model.num_attention_heads        model.hidden_size
//   model.vocab_size                 the pieces of data.tokenizer
//   run.recompute                    run.expert_chunk_rows
//   router.aux_loss_scope            router.aux_loss_semantics
//
// One pair is not known yet here: a model.vocab_size that nobody gave and the
// pieces that a text allows (CorpusOptions.vocab_size_may_shrink).

// What bounds keys from outside of the configuration; 0: nothing, or not known.
struct OutsideBounds {
  int64_t tokenizer_pieces = 0;  // of data.tokenizer
  int64_t sliding_window = 0;    // of the checkpoint
};

// Any values, also such as ValidateConfig refuses. Returns a sentence for each
// key that has another value in the end: "KEY is V, not the preset's U:
// REASON".
std::vector<std::string> GiveWay(const ConfigLayers& layers,
                                 const OutsideBounds& bounds,
                                 TrainConfig& config);

}  // namespace moe

#endif  // TRAINER_CONFIG_CONFIG_GIVE_WAY_H_
