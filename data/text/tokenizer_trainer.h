#ifndef DATA_TEXT_TOKENIZER_TRAINER_H_
#define DATA_TEXT_TOKENIZER_TRAINER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace moe {

struct TokenizerTrainerOptions {
  // .txt or .jsonl files that the vocabulary is learned from. Of more than
  // 1 GiB only every n-th document is taken.
  std::vector<std::string> inputs;
  int vocab_size = 0;
  std::string size_key = "vocab_size";  // where the user gave it
  // Nobody asked for the size: where the text allows fewer pieces, these.
  bool may_shrink = false;
  std::string output;  // path of the tokenizer.model to write, atomically
  int threads = 1;
  // The program spm_train; empty: where CMake found it, else in PATH.
  std::string program;
};

// Trains a vocabulary like Mixtral's (byte fallback, split digits) with the
// program spm_train as a child process. Its own output is kept and shown only
// in an error. The same text and size make the same vocabulary, whatever the
// number of threads. InvalidArgument: vocab_size too large (unless it may
// shrink) or too small for the text, with the limit. Unimplemented: spm_train
// is not on this machine. Cancelled: SIGINT or SIGTERM ended it.
absl::Status TrainTokenizer(const TokenizerTrainerOptions& options);

}  // namespace moe

#endif  // DATA_TEXT_TOKENIZER_TRAINER_H_
