#ifndef DATA_HF_TOKENIZER_H_
#define DATA_HF_TOKENIZER_H_

#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace moe {

struct NamedFile {
  std::string name;
  std::string contents;
};

// The files by which transformers' AutoTokenizer knows our tokenizer:
// tokenizer.model, tokenizer.json, tokenizer_config.json and
// special_tokens_map.json. `add_bos` as data.add_bos.
std::vector<NamedFile> HuggingFaceTokenizerFiles(const Tokenizer& tokenizer,
                                                 bool add_bos);

}  // namespace moe

#endif  // DATA_HF_TOKENIZER_H_
