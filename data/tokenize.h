#ifndef DATA_TOKENIZE_H_
#define DATA_TOKENIZE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/storage/file_system.h"
#include "data/text/text_reader.h"
#include "data/text/tokenizer.h"

namespace moe {

struct TokenizeOptions {
  std::vector<std::string> inputs;  // .txt and .jsonl files, in this order
  const Tokenizer* tokenizer = nullptr;
  std::string output_prefix;
  int threads = 1;
};

struct TokenizeResult {
  int64_t documents = 0;
  int64_t tokens = 0;      // </s> counted
  int64_t text_bytes = 0;  // what the documents' text holds
  // The inputs that are not all UTF-8, in their order.
  std::vector<IllFormedText> ill_formed;
};

// Writes the documents of text files to PREFIX.bin and PREFIX.idx, each with
// </s> behind it; documents without text are left out. The files do not depend
// on the number of threads, and memory not on the size of the inputs. The pair
// appears when it is whole; an error leaves an older pair as it was.
//
// `progress` hears of bytes of input, done of total, from this thread.
// FailedPrecondition: the tokenizer has no </s>, no input has text;
// ResourceExhausted: no thread can be started; errors of TextReader and
// FileSystem.
absl::StatusOr<TokenizeResult> TokenizeFiles(
    FileSystem& files, const TokenizeOptions& options,
    const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace moe

#endif  // DATA_TOKENIZE_H_
