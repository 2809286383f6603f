#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "data/corpus.h"
#include "data/corpus_source.h"
#include "data/storage/file_system.h"
#include "data/storage/temporary_path.h"
#include "data/text/hf_tokenizer.h"
#include "data/text/tokenizer_trainer.h"
#include "data/token_cache.h"
#include "data/tokenize.h"

namespace moe {
namespace {

// Whether the vocabulary is in the cache already. One that is too small for the
// size asked for was learned when nobody asked for one.
bool HasLearned(const CorpusSources& sources, const CorpusOptions& options) {
  const auto tokenizer = Tokenizer::Load(sources.tokenizer_path);
  return tokenizer.ok() && (options.vocab_size_may_shrink ||
                            (*tokenizer)->vocab_size() == options.vocab_size);
}

absl::Status PrepareTokenizer(const CorpusSources& sources,
                              const CorpusOptions& options,
                              const ProgressFunction& progress) {
  if (!sources.trains_tokenizer || HasLearned(sources, options))
    return absl::OkStatus();
  const std::string what =
      absl::StrCat("learning ", options.vocab_size, " pieces");
  progress(what, 0, 1);
  RETURN_IF_ERROR(TrainTokenizer({.inputs = sources.TrainTextPaths(),
                                  .vocab_size = options.vocab_size,
                                  .size_key = "model.vocab_size",
                                  .may_shrink = options.vocab_size_may_shrink,
                                  .output = sources.tokenizer_path,
                                  .threads = options.threads,
                                  .program = ""}));
  progress(what, 1, 1);
  return absl::OkStatus();
}

absl::Status PrepareTokens(const std::string& text, const Tokenizer& tokenizer,
                           const CorpusOptions& options,
                           const ProgressFunction& progress,
                           const SayFunction& say) {
  FileSystem& files = PosixFileSystem();
  ASSIGN_OR_RETURN(const TokenCache cache,
                   TokenCache::For(options.cache_directory, text, tokenizer));
  if (cache.IsWhole(files)) return absl::OkStatus();
  const std::string what = absl::StrCat("tokenizing ", text);
  RETURN_IF_ERROR(cache.Invalidate(files));
  ASSIGN_OR_RETURN(const TokenizeResult result,
                   TokenizeFiles(files,
                                 {.inputs = {text},
                                  .tokenizer = &tokenizer,
                                  .output_prefix = cache.prefix(),
                                  .threads = options.threads},
                                 [&](int64_t done, int64_t total) {
                                   progress(what, done, total);
                                 }));
  for (const IllFormedText& ill_formed : result.ill_formed)
    say(IllFormedWarning(ill_formed));
  return cache.Validate(files);
}

}  // namespace

absl::Status PrepareCorpus(const CorpusOptions& options,
                           const ProgressFunction& progress,
                           const SayFunction& say) {
  ASSIGN_OR_RETURN(const CorpusSources sources, FindSources(options));
  if (!sources.TextPaths().empty()) {
    RETURN_IF_ERROR(PosixFileSystem().MakeDirectories(options.cache_directory));
    RETURN_IF_ERROR(PrepareTokenizer(sources, options, progress));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   LoadCorpusTokenizer(sources, options));
  for (const std::string& text : sources.TextPaths()) {
    RETURN_IF_ERROR(PrepareTokens(text, *tokenizer, options, progress, say));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> PreviewVocabulary(const CorpusOptions& options) {
  constexpr int64_t kMostBytes = int64_t{1} << 20;
  FileSystem& files = PosixFileSystem();
  ASSIGN_OR_RETURN(CorpusSources sources, FindSources(options));
  if (!sources.trains_tokenizer) return 0;
  const auto learned = Tokenizer::Load(sources.tokenizer_path);
  if (learned.ok() && HasLearned(sources, options))
    return (*learned)->vocab_size();
  int64_t bytes = 0;
  for (const std::string& text : sources.TrainTextPaths()) {
    ASSIGN_OR_RETURN(const int64_t size, files.FileSize(text));
    bytes += size;
  }
  if (bytes > kMostBytes) return 0;
  const auto folder = MakeTemporaryDirectory("moe-vocabulary-");
  if (!folder.ok()) return 0;
  sources.tokenizer_path = JoinPath((*folder)->path(), kTokenizerFile);
  RETURN_IF_ERROR(PrepareTokenizer(
      sources, options, [](const std::string&, int64_t, int64_t) {}));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   Tokenizer::Load(sources.tokenizer_path));
  return tokenizer->vocab_size();
}

}  // namespace moe
