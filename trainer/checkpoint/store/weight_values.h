#ifndef TRAINER_CHECKPOINT_STORE_WEIGHT_VALUES_H_
#define TRAINER_CHECKPOINT_STORE_WEIGHT_VALUES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "moe/model_config.pb.h"
#include "moe/parameters/parameter_table.h"
#include "trainer/checkpoint/store/weights_loader.h"

namespace moe {

// What names and shapes cannot tell of weights that have passed
// WeightsLoader::Check. Elements are read piece by piece.

// Share `share` of `num_shares` of all elements: together, the shares look at
// each element once. DataLoss names a tensor that holds NaN or infinity.
// FailedPrecondition as CheckSpareTensors.
absl::Status CheckWeightValues(const WeightsLoader& loader,
                               const ModelConfig& model, int share,
                               int num_shares);

// What is said of a tensor whose values are not all finite, the first of which
// is `value` at `element`.
std::string FirstNotFiniteText(absl::string_view name, float value,
                               int64_t element);

// That no tensor which is passed over says something else: a stored head
// beside tied embeddings is the embedding, and stored rotary frequencies,
// cosines and sines are those of model.rope_theta, to a hundredth (and to what
// float32 loses of a large angle). FailedPrecondition names the tensor. Head,
// cosines and sines are compared by shares as above.
absl::Status CheckSpareTensors(const WeightsLoader& loader,
                               const ModelConfig& model, int share = 0,
                               int num_shares = 1);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_WEIGHT_VALUES_H_
