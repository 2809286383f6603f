#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "comm/status_macros.h"
#include "data/corpus.h"
#include "data/corpus_source.h"
#include "data/file_system.h"
#include "data/token_cache.h"
#include "data/tokenize.h"
#include "data/tokenizer_trainer.h"

namespace moe {
namespace {

absl::Status PrepareTokenizer(const CorpusSources& sources,
                              const CorpusOptions& options,
                              const ProgressFunction& progress) {
  if (!sources.trains_tokenizer ||
      Tokenizer::Load(sources.tokenizer_path).ok()) {
    return absl::OkStatus();
  }
  const std::string what =
      absl::StrCat("learning ", options.vocab_size, " pieces");
  progress(what, 0, 1);
  RETURN_IF_ERROR(TrainTokenizer({.inputs = sources.TrainTextPaths(),
                                  .vocab_size = options.vocab_size,
                                  .size_key = "model.vocab_size",
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

}  // namespace moe
