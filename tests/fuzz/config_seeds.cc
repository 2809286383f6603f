#include <string>

#include "tests/fuzz/reader_seeds.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

void AddTexts(SeedFiles& seeds) {
  const std::string at = "config_text/";
  seeds[at + "accepted_defaults"] = PrintConfig(TrainConfig());
  seeds[at + "accepted_blends"] =
      "model { hidden_size: 48 head_dim: 10 num_key_value_heads: 2 }\n"
      "router { capacity_factor: 1.25 drop_policy: POSITION }\n"
      "schedule { tokens: 1000000 decay: WSD cooldown_steps: 7 }\n"
      "parallel { tensor: 2 expert: 8 }\n"
      "data { train { source { path: \"a\\tb.txt\" weight: 0.7 }\n"
      "               source { path: 'c' } } valid {} }\n";
  seeds[at + "accepted_edges"] =
      "run { seed: 18446744073709551615 threads: -2147483648 }\n"
      "batch { global_size: 2147483647 sequence_length: 2147483647 }\n"
      "schedule { steps: 9223372036854775807 min_learning_rate: nan }\n"
      "optimizer { learning_rate: inf beta1: -inf epsilon: 1e-320 }\n";
  seeds[at + "accepted_zeros"] =
      "model { num_attention_heads: 0 num_key_value_heads: 0 }\n"
      "batch { global_size: 0 sequence_length: 0 }\n"
      "parallel { tensor: 0 expert: 0 }\n";
  seeds[at + "refused_unknown_field"] = "model { hiden_size: 48 }";
  seeds[at + "refused_unknown_value"] = "router { drop_policy: RANDOM }";
  seeds[at + "refused_65_bits"] = "run { seed: 18446744073709551616 }";
  seeds[at + "refused_no_number"] = "model { hidden_size: 4x8 }";
  seeds[at + "refused_nesting"] = "data { train { source { source { source {";
  seeds[at + "refused_extension"] = "model { [a.b/c.d] { [e] { x: 1 } } }";
  seeds[at + "refused_open_string"] = "run { directory: \"a\\x";
}

void AddWords(SeedFiles& seeds) {
  const std::string at = "config_override/";
  seeds[at + "accepted_kinds"] =
      "model.hidden_size=64\nschedule.tokens=5000000000\n"
      "run.seed=18446744073709551615\noptimizer.learning_rate=3e-4\n"
      "router.renormalize=false\nrun.compute_dtype=bfloat16\n"
      "run.directory=runs/a=b\ndata.train=0.7:a.txt,0.3:share:kjv.txt\n";
  seeds[at + "accepted_parallel"] =
      "parallel.tensor=2\nparallel.expert=8\nrouter.capacity_factor=1.25\n"
      "router.drop_policy=position\nbatch.micro_size=4\ndata.valid=\n";
  seeds[at + "refused_unknown_key"] = "model.hiden_size=1";
  seeds[at + "refused_no_word"] = "schedule.steps";
  seeds[at + "refused_three_names"] = "data.train.source=1";
  seeds[at + "refused_no_number"] = "schedule.steps=1e3";
  seeds[at + "refused_65_bits"] = "run.seed=18446744073709551616";
  seeds[at + "refused_infinite"] = "optimizer.learning_rate=1e999";
  seeds[at + "refused_no_value"] = "router.drop_policy=RANDOM";
  seeds[at + "refused_no_weight"] = "data.train=-1:a.txt";
  seeds[at + "refused_no_path"] = "data.train=0.5:,a";
}

}  // namespace

void AddConfigSeeds(SeedFiles& seeds) {
  AddTexts(seeds);
  AddWords(seeds);
}

}  // namespace moe
