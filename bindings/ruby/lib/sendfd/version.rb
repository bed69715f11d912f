# frozen_string_literal: true

module SendFD
  # The version of this package, which is that of the library: they are released
  # together. {SendFD.version} is that of the library which is loaded.
  VERSION = '1.0.0'
end
