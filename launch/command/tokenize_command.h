#ifndef LAUNCH_COMMAND_TOKENIZE_COMMAND_H_
#define LAUNCH_COMMAND_TOKENIZE_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/corpus.h"

namespace moe {

// What the command line of moe-tokenize asks for.
struct TokenizeCommand {
  // Not empty: what --help or --version wants printed.
  std::string text;
  std::string inspect;  // not empty: the pair to show; nothing is written
  std::vector<std::string> inputs;
  std::string output_prefix;
  std::string tokenizer;  // empty: one is trained, beside the output
  int vocab_size = 0;
  // It is the default: a text that allows fewer pieces gets these.
  bool vocab_size_may_shrink = false;
  int workers = 1;
};

// InvalidArgument: what was typed wrongly or is missing.
absl::StatusOr<TokenizeCommand> ParseTokenizeCommand(int argc,
                                                     const char* const* argv);

// Does it; the text for standard output. `say` hears of input that is not all
// UTF-8.
absl::StatusOr<std::string> RunTokenizeCommand(const TokenizeCommand& command,
                                               const ProgressFunction& progress,
                                               const SayFunction& say);

}  // namespace moe

#endif  // LAUNCH_COMMAND_TOKENIZE_COMMAND_H_
