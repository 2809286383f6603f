#ifndef DATA_TEXT_TOKENIZER_JSON_H_
#define DATA_TEXT_TOKENIZER_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "data/text/sentencepiece_model.h"

namespace moe {

// tokenizer.json, the form in which Hugging Face's tokenizers reads a
// vocabulary. Its ids are those of Tokenizer::Encode for every UTF-8 text, the
// names of control pieces ("<s>") in it too. `add_bos`: what it encodes with
// special tokens begins with <s>.
//
// Unimplemented: the format has no words for this model, and why. These are
// - unused pieces: a list of merges cannot make a piece and take it apart;
// - a control or unknown piece of one character, which is that character's;
// - a piece that is merged from a character that is no piece;
// - equal scores, where the place in the text decides (data/text/merge_list.h);
// - user-defined pieces with a space in them, beside other characters, under
//   remove_extra_whitespaces;
// - beside user-defined pieces of several characters, a piece that text cannot
//   become (<s>) and whose characters are all unknown, or more than eight such
//   names each of which ends with the next.
absl::StatusOr<std::string> TokenizerJson(const SentencePieceModel& model,
                                          bool add_bos);

}  // namespace moe

#endif  // DATA_TEXT_TOKENIZER_JSON_H_
