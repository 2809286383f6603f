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
// special_tokens_map.json. `add_bos` as data.add_bos: its inputs begin with
// <s>.
//
// Its ids are those of Encode for every vocabulary that TrainTokenizer makes
// and for Mixtral's, but for one custom of transformers: the names of control
// pieces, "<s>", in a text are these pieces. Its merge list cannot express
// unused pieces, nor user-defined ones at the start of a text, nor equal
// scores of pieces that are not runs of one character.
std::vector<NamedFile> HuggingFaceTokenizerFiles(const Tokenizer& tokenizer,
                                                 bool add_bos);

}  // namespace moe

#endif  // DATA_HF_TOKENIZER_H_
