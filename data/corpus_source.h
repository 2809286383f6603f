#ifndef DATA_CORPUS_SOURCE_H_
#define DATA_CORPUS_SOURCE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/corpus.h"
#include "data/text/tokenizer.h"

namespace moe {

// A DataSource whose name has been looked up.
struct CorpusSource {
  std::string path;  // the text file, or the prefix of the pair
  bool is_text = false;
  double weight = 1;
};

// All that the data section names, where it lies.
struct CorpusSources {
  std::vector<CorpusSource> train;
  std::vector<CorpusSource> valid;
  // CorpusOptions' own, else data.tokenizer, else that of vocabulary_from;
  // where none is, and there is text, the vocabulary's place in the cache; else
  // empty.
  std::string tokenizer_path;
  bool trains_tokenizer = false;

  std::vector<std::string> TrainTextPaths() const;
  std::vector<std::string> TextPaths() const;  // of train, then of valid
};

// `path` of a data section, "share:" looked up.
std::string FullDataPath(absl::string_view path,
                         const std::string& share_directory);

// InvalidArgument: no training source, values out of range, or text and tokens
// together without data.tokenizer, or text where vocabulary_from has none or
// another one than data.tokenizer. NotFound: a path where nothing is. Errors of
// TextReader::Open.
absl::StatusOr<CorpusSources> FindSources(const CorpusOptions& options);

// The tokenizer that the sources name, null when they name none.
// InvalidArgument: it has more pieces than the model, or no <s> where
// data.add_bos wants one; errors of Tokenizer::Load.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadCorpusTokenizer(
    const CorpusSources& sources, const CorpusOptions& options);

// The prefix of a source's tokens: its own, or that of its text's cache.
// FailedPrecondition: the text is not tokenized, or changed since. `tokenizer`
// is not null where there is text.
absl::StatusOr<std::string> TokensPrefix(const CorpusSource& source,
                                         const CorpusOptions& options,
                                         const Tokenizer* tokenizer);

}  // namespace moe

#endif  // DATA_CORPUS_SOURCE_H_
