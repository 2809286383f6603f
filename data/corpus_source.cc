#include "data/corpus_source.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "comm/base/status_macros.h"
#include "data/indexed_dataset.h"
#include "data/storage/digest.h"
#include "data/storage/file_system.h"
#include "data/text/hf_tokenizer.h"
#include "data/text/text_reader.h"
#include "data/token_cache.h"

namespace moe {
namespace {

absl::Status Missing(absl::string_view key, const std::string& path) {
  return absl::NotFoundError(absl::StrCat(key, ": there is no file ", path));
}

absl::StatusOr<CorpusSource> FindSource(absl::string_view key,
                                        const DataSource& source,
                                        const CorpusOptions& options) {
  FileSystem& files = PosixFileSystem();
  const std::string path = FullDataPath(source.path(), options.share_directory);
  if (source.path().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, ": a source has no path"));
  }
  if (IsTextFileName(path)) {
    if (!files.Exists(path)) return Missing(key, path);
    RETURN_IF_ERROR(Annotate(CheckTextFile(files, path), key));
    return CorpusSource{path, true, source.weight()};
  }
  const std::string prefix = IndexedDatasetPrefix(path);
  if (files.Exists(absl::StrCat(prefix, ".idx"))) {
    return CorpusSource{prefix, false, source.weight()};
  }
  if (files.Exists(path)) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, ": ", path, " is neither .txt nor .jsonl, nor is ",
                     "there ", prefix, ".idx that would make it tokens"));
  }
  return Missing(key, absl::StrCat(prefix, ".idx"));
}

absl::StatusOr<std::vector<CorpusSource>> FindBlend(
    absl::string_view key, const DataBlend& blend,
    const CorpusOptions& options) {
  std::vector<CorpusSource> sources;
  for (const DataSource& source : blend.source()) {
    absl::StatusOr<CorpusSource> found = FindSource(key, source, options);
    if (absl::IsNotFound(found.status()) && blend.source_size() > 1) {
      return absl::NotFoundError(absl::StrCat(
          found.status().message(),
          " (a comma divides names; one in a name is typed as \\,)"));
    }
    RETURN_IF_ERROR(found.status());
    sources.push_back(*std::move(found));
  }
  return sources;
}

absl::Status CheckValues(const CorpusOptions& options) {
  const DataConfig& config = options.config;
  const double fraction = config.valid_fraction();
  if (!std::isfinite(fraction) || fraction < 0 || fraction >= 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.valid_fraction is ", fraction,
                     ", must be at least 0 and less than 1"));
  }
  if (options.sequence_length < 1) {
    return absl::InvalidArgumentError(absl::StrCat("batch.sequence_length is ",
                                                   options.sequence_length,
                                                   ", must be at least 1"));
  }
  if (config.train().source().empty()) {
    return absl::InvalidArgumentError(
        "data.train is empty: name a .txt or "
        ".jsonl file or a .bin/.idx prefix");
  }
  return absl::OkStatus();
}

// A vocabulary of our own would give stored tokens another meaning.
absl::Status CheckTokenizerIsNamed(const CorpusSources& sources) {
  const CorpusSource* text = nullptr;
  const CorpusSource* tokens = nullptr;
  for (const auto* blend : {&sources.train, &sources.valid}) {
    for (const CorpusSource& source : *blend) {
      (source.is_text ? text : tokens) = &source;
    }
  }
  if (text == nullptr || tokens == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("data.tokenizer is empty, but ", text->path, " is text and ",
                   tokens->path, " is tokens already: name the tokenizer ",
                   "that those were made with"));
}

// Text in pieces of another tokenizer would give the embeddings another
// meaning. Of tokens nobody knows what they were made with.
absl::Status CheckTokenizerOfWeights(const CorpusSources& sources,
                                     const CorpusOptions& options) {
  const std::vector<std::string> texts = sources.TextPaths();
  const std::string theirs = JoinPath(options.vocabulary_from, kTokenizerFile);
  FileSystem& files = PosixFileSystem();
  if (options.vocabulary_from.empty() || texts.empty() || !files.Exists(theirs))
    return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string typed,
                   files.ReadFile(sources.tokenizer_path, kMaxModelBytes));
  ASSIGN_OR_RETURN(const std::string trained,
                   files.ReadFile(theirs, kMaxModelBytes));
  if (typed == trained) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "data.tokenizer is ", sources.tokenizer_path, " with digest ",
      DigestText(Digest(typed)), ", must have ", DigestText(Digest(trained)),
      ", that of ", theirs,
      ", which the weights that the run has were trained with: leave "
      "data.tokenizer out, or, if another meaning of the ids is what you want, "
      "make tokens of ",
      texts.front(), " first, by moe-tokenize --tokenizer"));
}

// That of the checkpoint; empty: it has none, and tokens need none. Pieces
// learned anew would give its embeddings another meaning.
absl::StatusOr<std::string> FindVocabulary(const CorpusSources& sources,
                                           const CorpusOptions& options) {
  const std::string path = JoinPath(options.vocabulary_from, kTokenizerFile);
  if (PosixFileSystem().Exists(path)) return path;
  const std::vector<std::string> texts = sources.TextPaths();
  if (texts.empty()) return "";
  return absl::InvalidArgumentError(absl::StrCat(
      "data.tokenizer is empty, ", texts.front(), " is text, and ",
      options.vocabulary_from,
      ", whose weights the run has, holds no tokenizer.model: name the "
      "SentencePiece model that those weights were trained with, or give text "
      "that is tokens already"));
}

}  // namespace

std::string FullDataPath(absl::string_view path,
                         const std::string& share_directory) {
  if (!absl::ConsumePrefix(&path, "share:")) return std::string(path);
  return JoinPath(share_directory, path);
}

std::vector<std::string> CorpusSources::TrainTextPaths() const {
  std::vector<std::string> paths;
  for (const CorpusSource& source : train) {
    if (source.is_text) paths.push_back(source.path);
  }
  return paths;
}

std::vector<std::string> CorpusSources::TextPaths() const {
  std::vector<std::string> paths = TrainTextPaths();
  for (const CorpusSource& source : valid) {
    if (source.is_text) paths.push_back(source.path);
  }
  return paths;
}

absl::StatusOr<CorpusSources> FindSources(const CorpusOptions& options) {
  RETURN_IF_ERROR(CheckValues(options));
  CorpusSources found;
  ASSIGN_OR_RETURN(found.train,
                   FindBlend("data.train", options.config.train(), options));
  ASSIGN_OR_RETURN(found.valid,
                   FindBlend("data.valid", options.config.valid(), options));
  if (!options.tokenizer_path.empty()) {
    found.tokenizer_path = options.tokenizer_path;
    return found;
  }
  if (!options.config.tokenizer().empty()) {
    found.tokenizer_path =
        FullDataPath(options.config.tokenizer(), options.share_directory);
    if (!PosixFileSystem().Exists(found.tokenizer_path)) {
      return Missing("data.tokenizer", found.tokenizer_path);
    }
    RETURN_IF_ERROR(CheckTokenizerOfWeights(found, options));
    return found;
  }
  if (!options.vocabulary_from.empty()) {
    ASSIGN_OR_RETURN(found.tokenizer_path, FindVocabulary(found, options));
    return found;
  }
  RETURN_IF_ERROR(CheckTokenizerIsNamed(found));
  if (!found.train.front().is_text) return found;
  found.trains_tokenizer = true;
  ASSIGN_OR_RETURN(
      found.tokenizer_path,
      CachedTokenizerPath(options.cache_directory, found.TrainTextPaths(),
                          options.vocab_size));
  return found;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadCorpusTokenizer(
    const CorpusSources& sources, const CorpusOptions& options) {
  std::unique_ptr<Tokenizer> tokenizer;
  if (!sources.tokenizer_path.empty()) {
    absl::StatusOr<std::unique_ptr<Tokenizer>> loaded =
        Tokenizer::Load(sources.tokenizer_path);
    // A checkpoint's, of a kind that we do not encode: tokens need none.
    if (absl::IsFailedPrecondition(loaded.status()) &&
        options.config.tokenizer().empty() && sources.TextPaths().empty())
      return tokenizer;
    RETURN_IF_ERROR(loaded.status());
    tokenizer = *std::move(loaded);
    if (tokenizer->vocab_size() > options.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "model.vocab_size is ", options.vocab_size, ", must be at least the ",
          tokenizer->vocab_size(), " pieces of ", sources.tokenizer_path));
    }
  }
  if (options.config.add_bos() &&
      (tokenizer == nullptr || tokenizer->bos_id() < 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data.add_bos is true, but ", tokenizer == nullptr
                                          ? "data.tokenizer is empty"
                                          : "the tokenizer has no <s>"));
  }
  return tokenizer;
}

absl::StatusOr<std::string> TokensPrefix(const CorpusSource& source,
                                         const CorpusOptions& options,
                                         const Tokenizer* tokenizer) {
  if (!source.is_text) return source.path;
  ASSIGN_OR_RETURN(
      const TokenCache cache,
      TokenCache::For(options.cache_directory, source.path, *tokenizer));
  if (cache.IsThere(PosixFileSystem())) return cache.prefix();
  return absl::FailedPreconditionError(
      absl::StrCat(source.path, " changed after it was tokenized into ",
                   cache.prefix(), ".bin, or never was"));
}

}  // namespace moe
