#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_runtime.h"
#include "data/storage/file_system.h"
#include "launch/command/command_line.h"
#include "launch/command/leave.h"
#include "launch/command/process_setup.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/generate/generator.h"

namespace moe {
namespace {

constexpr char kProgram[] = "moe-generate";

struct Flags {
  std::string checkpoint;
  GenerateOptions generate;
};

CommandLine MakeCommandLine(Flags& flags) {
  CommandLine line({
      .name = kProgram,
      .purpose = "continues a prompt with a trained model.",
      .examples = {"moe-generate --checkpoint=runs/quickstart --prompt='And '",
                   "moe-generate --checkpoint=Mixtral-8x7B-v0.1 "
                   "--prompt='1 + 1 =' --temperature=0 --max-tokens=8"},
      .exit_codes = {64, 65, 69, 70, 74, 76},
  });
  SamplingOptions& sampling = flags.generate.sampling;
  line.Add("checkpoint", "DIRECTORY",
           "a checkpoint, or a run directory (its newest checkpoint)",
           &flags.checkpoint);
  line.Add("prompt", "TEXT", "the text to continue (default: empty)",
           &flags.generate.prompt);
  line.Add("max-tokens", "N", "generate at most N tokens (default: 128)",
           &flags.generate.max_tokens);
  line.Add("temperature", "X",
           "sampling temperature; 0 takes the likeliest token (default: 1)",
           &sampling.temperature);
  line.Add("top-k", "N", "sample from the N likeliest tokens (default: 0, all)",
           &sampling.top_k);
  line.Add(
      "top-p", "X",
      "sample from the likeliest tokens of total probability X (default: 1)",
      &sampling.top_p);
  line.Add("seed", "N", "the same seed gives the same text (default: 1)",
           &flags.generate.seed);
  return line;
}

absl::Status Run(const Flags& flags) {
  if (flags.checkpoint.empty())
    return absl::InvalidArgumentError("--checkpoint=DIRECTORY is missing");
  // Before what may be large is read.
  RETURN_IF_ERROR(ValidateGenerate(flags.generate));
  FileSystem& files = PosixFileSystem();
  ASSIGN_OR_RETURN(const std::string checkpoint,
                   FindCheckpoint(files, flags.checkpoint));
  ASSIGN_OR_RETURN(const std::unique_ptr<Generator> generator,
                   Generator::Load(files, checkpoint, AvailableCores()));
  ASSIGN_OR_RETURN(const StopReason reason,
                   generator->Generate(flags.generate, StreamOutput));
  StreamOutput("\n");
  if (std::ferror(stdout) != 0)
    return absl::AbortedError("standard output: the text was not all written");
  if (reason == StopReason::kMaxPositions) {
    std::fprintf(stderr, "%s: stopped at %s (%lld)\n", kProgram,
                 std::string(generator->max_positions_key()).c_str(),
                 static_cast<long long>(generator->max_positions()));
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  SetUpProcess(kProgram);
  Flags flags;
  const CommandLine line = MakeCommandLine(flags);
  absl::StatusOr<std::string> text = line.Parse(argc, argv);
  if (text.ok() && !text->empty()) return LeaveWithoutMpi(kProgram, text);
  RefuseForeignLauncher(kProgram);
  if (!text.ok()) return LeaveWithoutMpi(kProgram, text);
  // One process does the work, without MPI, however many were started.
  if (ReadLauncherEnvironment().rank != 0) return 0;
  if (const absl::Status status = Run(flags); !status.ok())
    return LeaveWithoutMpi(kProgram, status);
  return 0;
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) { return moe::Main(argc, argv); }
