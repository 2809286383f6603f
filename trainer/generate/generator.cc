#include "trainer/generate/generator.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/counted.h"
#include "comm/base/philox.h"
#include "comm/base/status_macros.h"
#include "data/text/utf8.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/json_settings.h"
#include "trainer/checkpoint/store/weight_values.h"
#include "trainer/checkpoint/store/weights_loader.h"
#include "trainer/checkpoint/tools/checkpoint_audit.h"

namespace moe {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;
// A logit whose probability is 0, yet a number.
constexpr float kNeverDrawn = std::numeric_limits<float>::lowest();

// Whether a text begins with <s>: add_bos_token of tokenizer_config.json, true
// as in transformers where nothing is said.
absl::StatusOr<bool> ReadAddBos(FileSystem& files,
                                const std::string& checkpoint) {
  const std::string path = JoinPath(checkpoint, kTokenizerConfigFile);
  if (!files.Exists(path)) return true;
  ASSIGN_OR_RETURN(const std::string text,
                   files.ReadFile(path, kMaxConfigBytes));
  const auto json = ParseJsonSettings(text);
  if (!json.ok()) return Annotate(json.status(), path);
  const auto add_bos = json->find("add_bos_token");
  return add_bos == json->end() || !add_bos->is_boolean() ||
         add_bos->get<bool>();
}

// One rank holds everything: always a valid mesh.
Mesh OneRank(const ModelConfig& model) {
  return *Mesh::Create(1, 1, 1, model.num_local_experts());
}

}  // namespace

absl::Status ValidateGenerate(const GenerateOptions& options) {
  RETURN_IF_ERROR(ValidateSampling(options.sampling));
  if (options.max_tokens < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--max-tokens is ", options.max_tokens, ", must be at least 1"));
  }
  if (options.seed < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--seed is ", options.seed, ", must be at least 0"));
  }
  const IllFormedBytes ill_formed = FindIllFormedBytes(options.prompt);
  if (ill_formed.count == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--prompt is '", options.prompt, "', must be UTF-8; the byte at offset ",
      ill_formed.first, " is none"));
}

absl::StatusOr<std::unique_ptr<Generator>> Generator::Load(
    FileSystem& files, const std::string& checkpoint, int threads,
    std::unique_ptr<Kernels> kernels) {
  RETURN_IF_ERROR(VerifyAsWritten(files, checkpoint, Verified::kWeights,
                                  threads,
                                  [](const std::string&, int64_t, int64_t) {}));
  ASSIGN_OR_RETURN(SourceWords words, ReadSourceWords(files, checkpoint));
  const std::string path = JoinPath(checkpoint, kTokenizerFile);
  if (!files.Exists(path))
    return absl::NotFoundError(absl::StrCat(
        path, " is missing: text needs the model's SentencePiece vocabulary"));
  ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(path));
  if (tokenizer->vocab_size() > words.config.model.vocab_size()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " has ", tokenizer->vocab_size(),
                     " pieces, more than the model's vocab_size (",
                     words.config.model.vocab_size(), ")"));
  }
  ASSIGN_OR_RETURN(const bool add_bos, ReadAddBos(files, checkpoint));
  if (kernels == nullptr) kernels = MakeCpuKernels(threads);
  std::unique_ptr<Generator> generator(new Generator(
      std::move(words), std::move(tokenizer), add_bos, std::move(kernels)));
  RETURN_IF_ERROR(generator->kernels_->status());
  RETURN_IF_ERROR(generator->LoadModelWeights(files, checkpoint));
  return generator;
}

Generator::Generator(SourceWords words, std::unique_ptr<Tokenizer> tokenizer,
                     bool add_bos, std::unique_ptr<Kernels> kernels)
    : words_(std::move(words)),
      config_(words_.config),
      tokenizer_(std::move(tokenizer)),
      add_bos_(add_bos),
      mesh_(OneRank(config_.model)),
      groups_(ProcessGroups::CreateSingle()),
      table_(config_.model, DType::kFloat32, mesh_, /*rank=*/0),
      kernels_(std::move(kernels)),
      logits_(static_cast<size_t>(config_.model.vocab_size())) {}

absl::Status Generator::LoadModelWeights(FileSystem& files,
                                         const std::string& checkpoint) {
  ASSIGN_OR_RETURN(const std::unique_ptr<WeightsLoader> loader,
                   WeightsLoader::Open(files, checkpoint));
  ASSIGN_OR_RETURN(
      storage_, ParameterStorage::AllocateWeights(table_, kernels_->context()));
  RETURN_IF_ERROR(LoadWeights(*loader, table_, storage_, kernels_->context()));
  RETURN_IF_ERROR(CheckSpareTensors(*loader, config_.model));
  weights_ = BindWeights(config_.model, table_, storage_);
  return absl::OkStatus();
}

bool Generator::EndsText(int32_t id) const {
  const std::vector<int>& ends = words_.end_ids;
  return ends.empty() ? id == tokenizer_->eos_id()
                      : std::find(ends.begin(), ends.end(), id) != ends.end();
}

// Something must stand before the first token: without <s>, the </s> that ends
// the document before.
std::vector<int32_t> Generator::PromptIds(const std::string& prompt) const {
  std::vector<int32_t> ids;
  if (add_bos_ && tokenizer_->bos_id() >= 0)
    ids.push_back(tokenizer_->bos_id());
  if (!prompt.empty()) tokenizer_->Encode(prompt, ids);
  if (ids.empty()) ids.push_back(std::max(tokenizer_->eos_id(), 0));
  return ids;
}

absl::Status Generator::PrepareModel(int64_t length) {
  LanguageModel::Options options;
  options.model = config_.model;
  options.router.set_renormalize(config_.renormalize);
  options.max_length = length;
  ASSIGN_OR_RETURN(model_,
                   LanguageModel::Create(options, table_, groups_, *kernels_));
  return absl::OkStatus();
}

absl::StatusOr<StopReason> Generator::Generate(
    const GenerateOptions& options,
    absl::FunctionRef<void(absl::string_view)> output) {
  RETURN_IF_ERROR(ValidateGenerate(options));
  std::vector<int32_t> ids = PromptIds(options.prompt);
  const int64_t prompt_size = static_cast<int64_t>(ids.size());
  if (prompt_size > max_positions()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--prompt is ", Counted(prompt_size, "token"),
                     " long, must be at most ", max_positions_key(), " (",
                     max_positions(), ")"));
  }
  // A token is made from all before it, which have to have positions.
  const bool cut = options.max_tokens > max_positions() - prompt_size + 1;
  const int64_t last =
      cut ? max_positions() : prompt_size + options.max_tokens - 1;
  RETURN_IF_ERROR(PrepareModel(last));

  StreamDecoder decoder(*tokenizer_);
  for (int32_t id : ids) output(decoder.Push(id));
  StopReason reason = cut ? StopReason::kMaxPositions : StopReason::kMaxTokens;
  while (static_cast<int64_t>(ids.size()) <= last) {
    ASSIGN_OR_RETURN(const int32_t id, NextToken(ids, options));
    if (EndsText(id)) {
      reason = StopReason::kEndOfText;
      break;
    }
    ids.push_back(id);
    output(decoder.Push(id));
  }
  output(decoder.Finish());
  return reason;
}

// The ids go to the device, the logits of the last come back.
absl::Status Generator::ComputeLogits(absl::Span<const int32_t> ids) {
  const auto length = static_cast<int64_t>(ids.size());
  DeviceContext& device = kernels_->context();
  ArenaScope scope(scratch_);
  ASSIGN_OR_RETURN(const Tensor ids_S,
                   scratch_.Allocate({length}, DType::kInt32));
  ASSIGN_OR_RETURN(
      const Tensor logits_1V,
      scratch_.Allocate({1, config_.model.vocab_size()}, DType::kFloat32));
  device.Upload(ids_S.raw(), ids.data(), length * SizeOf(DType::kInt32));
  RETURN_IF_ERROR(
      model_->Logits(pass_, logits_1V, ids_S, length, length - 1, weights_));
  device.Download(logits_.data(), logits_1V.raw(),
                  logits_1V.size() * SizeOf(DType::kFloat32));
  return device.Synchronize();
}

absl::StatusOr<int32_t> Generator::NextToken(absl::Span<const int32_t> ids,
                                             const GenerateOptions& options) {
  const int64_t length = static_cast<int64_t>(ids.size());
  RETURN_IF_ERROR(ComputeLogits(ids));
  // Ids beyond the vocabulary have no text, but one may end it.
  const auto logits = absl::MakeSpan(logits_);
  for (int32_t id = tokenizer_->vocab_size(); id < config_.model.vocab_size();
       ++id) {
    if (!EndsText(id)) logits[static_cast<size_t>(id)] = kNeverDrawn;
  }
  if (!std::all_of(logits.begin(), logits.end(),
                   [](float x) { return std::isfinite(x); })) {
    return absl::OutOfRangeError(
        absl::StrCat("the logits after ", Counted(length, "token"),
                     " are not finite: the weights hold "
                     "NaN, infinity or too large values"));
  }
  const double uniform = Philox(static_cast<uint64_t>(options.seed), "generate")
                             .Uniform(static_cast<uint64_t>(length));
  return SampleToken(logits, options.sampling, uniform);
}

}  // namespace moe
