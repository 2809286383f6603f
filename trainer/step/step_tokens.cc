#include "trainer/step/step_tokens.h"

#include <cstdint>

#include "absl/types/span.h"
#include "comm/base/dtype.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

absl::StatusOr<Tensor> Upload(Arena& memory, absl::Span<const int32_t> tokens) {
  const auto size = static_cast<int64_t>(tokens.size());
  ASSIGN_OR_RETURN(const Tensor tensor, memory.Allocate({size}, DType::kInt32));
  memory.context().Upload(tensor.raw(), tokens.data(),
                          size * SizeOf(DType::kInt32));
  return tensor;
}

}  // namespace

absl::StatusOr<StepTokens> UploadTokens(Arena& memory,
                                        const TokenBlock& block) {
  memory.Release({});
  StepTokens tokens;
  tokens.host = block;
  ASSIGN_OR_RETURN(tokens.inputs, Upload(memory, block.inputs));
  ASSIGN_OR_RETURN(tokens.targets, Upload(memory, block.targets));
  if (block.positions.empty()) return tokens;
  ASSIGN_OR_RETURN(tokens.positions, Upload(memory, block.positions));
  return tokens;
}

}  // namespace moe
