#ifndef TRAINER_CHECKPOINT_WEIGHT_VALUES_H_
#define TRAINER_CHECKPOINT_WEIGHT_VALUES_H_

#include "absl/status/status.h"
#include "moe/model_config.pb.h"
#include "moe/parameter_table.h"
#include "trainer/checkpoint/weights_loader.h"

namespace moe {

// What names and shapes cannot tell of weights that have passed
// WeightsLoader::Check. Elements are read piece by piece.

// Share `share` of `num_shares` of all elements: together, the shares look at
// each element once. DataLoss names a tensor that holds NaN or infinity.
// FailedPrecondition as CheckSpareTensors.
absl::Status CheckWeightValues(const WeightsLoader& loader,
                               const ModelConfig& model, int share,
                               int num_shares);

// That no tensor which is passed over says something else: a stored head
// beside tied embeddings is the embedding, and stored rotary frequencies are
// those of model.rope_theta, to a hundredth. FailedPrecondition names the
// tensor. The head is compared by shares as above.
absl::Status CheckSpareTensors(const WeightsLoader& loader,
                               const ModelConfig& model, int share = 0,
                               int num_shares = 1);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_WEIGHT_VALUES_H_
