#ifndef TRAINER_GENERATE_GENERATOR_H_
#define TRAINER_GENERATE_GENERATOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/mesh.h"
#include "comm/process_groups.h"
#include "data/storage/file_system.h"
#include "data/text/tokenizer.h"
#include "moe/kernels.h"
#include "moe/layers/language_model.h"
#include "moe/layers/pass.h"
#include "moe/parameters/weights.h"
#include "trainer/checkpoint/store/source_words.h"
#include "trainer/generate/sampler.h"

namespace moe {

struct GenerateOptions {
  std::string prompt;
  int64_t max_tokens = 128;  // made at most
  SamplingOptions sampling;
  int64_t seed = 1;
};

// InvalidArgument names the option of moe-generate. What needs a model to be
// known, as how long a prompt may be, is told by Generate.
absl::Status ValidateGenerate(const GenerateOptions& options);

enum class StopReason {
  kEndOfText,    // the model said one of the tokens that end a text
  kMaxTokens,    // as many as were asked for
  kMaxPositions  // no longer text is computed as the model means it
};

// Text from a checkpoint's model, in one process and in float32.
class Generator {
 public:
  // `checkpoint` is a directory with config.json, tokenizer.model and weights,
  // ours, whose bytes are verified, or Hugging Face's. NotFound, DataLoss,
  // FailedPrecondition: what about it is not as it must be. `kernels` compute;
  // null: the processor's, of so many threads.
  static absl::StatusOr<std::unique_ptr<Generator>> Load(
      FileSystem& files, const std::string& checkpoint, int threads,
      std::unique_ptr<Kernels> kernels = nullptr);

  // Hands the prompt and then the text that follows it to `output`, piece by
  // piece, as soon as a piece is certain. The same options give the same text.
  // InvalidArgument: an option, or a prompt too long for the model.
  // OutOfRange: logits that are not finite.
  absl::StatusOr<StopReason> Generate(
      const GenerateOptions& options,
      absl::FunctionRef<void(absl::string_view)> output);

  // Tokens of a text at most, and the key of config.json that says so.
  int64_t max_positions() const { return config_.max_length(); }
  absl::string_view max_positions_key() const {
    return max_positions() < config_.model.max_position_embeddings()
               ? "sliding_window"
               : "max_position_embeddings";
  }

 private:
  Generator(SourceWords words, std::unique_ptr<Tokenizer> tokenizer,
            bool add_bos, std::unique_ptr<Kernels> kernels);

  absl::Status LoadModelWeights(FileSystem& files,
                                const std::string& checkpoint);
  bool EndsText(int32_t id) const;
  std::vector<int32_t> PromptIds(const std::string& prompt) const;
  // Makes a model for sequences of up to `length` tokens.
  absl::Status PrepareModel(int64_t length);
  // logits_ = those of the token after `ids`.
  absl::Status ComputeLogits(absl::Span<const int32_t> ids);
  // The token after `ids`.
  absl::StatusOr<int32_t> NextToken(absl::Span<const int32_t> ids,
                                    const GenerateOptions& options);

  const SourceWords words_;
  const HuggingFaceConfig& config_;  // of words_
  const std::unique_ptr<Tokenizer> tokenizer_;
  const bool add_bos_;
  const Mesh mesh_;
  const ProcessGroups groups_;
  const ParameterTable table_;
  const std::unique_ptr<Kernels> kernels_;
  ParameterStorage storage_;
  ModelWeights weights_;
  std::unique_ptr<LanguageModel> model_;
  Arena scratch_{kernels_->context()};
  Pass pass_{scratch_};
  std::vector<float> logits_;  // of the last token, [V]
};

}  // namespace moe

#endif  // TRAINER_GENERATE_GENERATOR_H_
