#ifndef TRAINER_GENERATE_SAMPLER_H_
#define TRAINER_GENERATE_SAMPLER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace moe {

// How the next token is drawn: the logits divided by the temperature, cut to
// the top_k most likely, then to the fewest of these whose probabilities reach
// top_p (Holtzman et al., "The curious case of neural text degeneration",
// 2020).
struct SamplingOptions {
  double temperature = 1;  // 0: always the most likely
  int64_t top_k = 0;       // 0: all
  double top_p = 1;        // in (0, 1]; 1: all
};

// InvalidArgument names the option, its value and the limit.
absl::Status ValidateSampling(const SamplingOptions& options);

// The token that stands at `uniform`, a number in [0, 1), when the kept tokens
// share that interval by their probabilities, the likeliest first. Among equal
// logits the lower id counts as likelier. Logits are finite, at least one.
int32_t SampleToken(absl::Span<const float> logits,
                    const SamplingOptions& options, double uniform);

}  // namespace moe

#endif  // TRAINER_GENERATE_SAMPLER_H_
