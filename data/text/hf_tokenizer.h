#ifndef DATA_TEXT_HF_TOKENIZER_H_
#define DATA_TEXT_HF_TOKENIZER_H_

#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/text/tokenizer.h"

namespace moe {

inline constexpr char kTokenizerFile[] = "tokenizer.model";
inline constexpr char kTokenizerConfigFile[] = "tokenizer_config.json";
// The files of a tokenizer that HuggingFaceTokenizerFiles makes, and others
// that a checkpoint may have of it.
inline constexpr const char* kTokenizerFiles[] = {
    kTokenizerFile, "tokenizer.json", kTokenizerConfigFile,
    "special_tokens_map.json"};
inline constexpr const char* kMoreTokenizerFiles[] = {"added_tokens.json",
                                                      "chat_template.jinja"};

inline bool IsTokenizerFile(absl::string_view name) {
  return absl::c_linear_search(kTokenizerFiles, name);
}
inline bool IsMoreTokenizerFile(absl::string_view name) {
  return absl::c_linear_search(kMoreTokenizerFiles, name);
}

struct NamedFile {
  std::string name;
  std::string contents;
};

// The files by which transformers' AutoTokenizer knows our tokenizer,
// kTokenizerFiles. `add_bos` as data.add_bos: its inputs begin with
// <s>. Its ids are those of Encode for every text.
//
// Where CheckTokenizerExport is not OK there is no tokenizer.json, and
// tokenizer_config.json makes AutoTokenizer fail with the reason: without it,
// it would read tokenizer.model by a conversion that gives other ids.
std::vector<NamedFile> HuggingFaceTokenizerFiles(const Tokenizer& tokenizer,
                                                 bool add_bos);

// Unimplemented: HuggingFaceTokenizerFiles has no tokenizer.json, and why.
absl::Status CheckTokenizerExport(const Tokenizer& tokenizer);

}  // namespace moe

#endif  // DATA_TEXT_HF_TOKENIZER_H_
